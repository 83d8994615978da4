"""The verbs of the orders service. Each is one statement that commits by itself, and a look at what it found.

Of a confirm and a cancel at the same moment exactly one finds the order CREATED: the other waits for its row and then
finds another status.
"""

from __future__ import annotations

from common.api.errors import IdempotencyKeyReused
from common.api.idempotency import Body, Fingerprint, with_defaults
from common.database.database import Database, Row
from domain.ids import order_id_for
from orders_service.domain import CANCELLED, CONFIRMED, CREATED
from orders_service.errors import not_allowed, order_not_found

# A new order with its lines; no row where there is one already, or the trace of its cancel.
INSERT_ORDER = """
WITH created AS (
    INSERT INTO orders (id, order_ledger_id, user_id, status, total_amount_cents, currency, fingerprint)
    VALUES (%(id)s, %(order_ledger_id)s, %(user_id)s, 'CREATED', %(total_amount_cents)s, %(currency)s, %(fingerprint)s)
    ON CONFLICT DO NOTHING
    RETURNING *
), line AS (
    INSERT INTO order_items (order_id, position, product_id, quantity, unit_price_cents)
    SELECT created.id, position, product_id, quantity, unit_price_cents
    FROM created, unnest(%(product_ids)s::uuid[], %(quantities)s::integer[], %(prices)s::bigint[])
        WITH ORDINALITY AS line (product_id, quantity, unit_price_cents, position)
)
SELECT * FROM created
"""

# An order with its lines, in the order in which they came; `fingerprint` is null in the trace of a cancel.
_WITH_LINES = """*, (
    SELECT json_agg(json_build_object(
        'product_id', product_id, 'quantity', quantity, 'unit_price_cents', unit_price_cents) ORDER BY position)
    FROM order_items WHERE order_id = orders.id
) AS items"""

ORDER = f"SELECT {_WITH_LINES} FROM orders WHERE id = %(id)s"

# Only from CREATED; no row where it was not.
CONFIRM = f"""
UPDATE orders SET status = 'CONFIRMED', updated_at = now() WHERE id = %(id)s AND status = 'CREATED'
RETURNING {_WITH_LINES}
"""

# Only from CREATED; where there is no order, the trace that refuses it when it arrives.
CANCEL = """
INSERT INTO orders (id, status) VALUES (%(id)s, 'CANCELLED')
ON CONFLICT (id) DO UPDATE SET status = 'CANCELLED', updated_at = now() WHERE orders.status = 'CREATED'
"""


def create(db: Database, new: Row, sent: Row) -> tuple[Row, bool]:
    """Make the one order of a ledger entry.

    :returns: the order as it is now, and whether it had been made before
    :raises IdempotencyKeyReused: it was made with other content
    :raises InvalidStatusTransition: it is cancelled, perhaps since before it was ever made
    """
    fingerprint = Fingerprint(sent, lambda: _as_0_1_read_it(sent))
    order_id = order_id_for(new["order_ledger_id"])
    items = new["items"]
    created = db.one(
        INSERT_ORDER,
        **new,
        id=order_id,
        fingerprint=fingerprint.value,
        product_ids=[line["product_id"] for line in items],
        quantities=[line["quantity"] for line in items],
        prices=[line["unit_price_cents"] for line in items],
    )
    if created:
        return {**created, "items": items}, False
    return _made_before(db, order_id, fingerprint), True


def _made_before(db: Database, order_id: str, fingerprint: Fingerprint) -> Row:
    order = db.one(ORDER, id=order_id) or {}
    if order["fingerprint"] is not None and not fingerprint.matches(order["fingerprint"]):
        raise IdempotencyKeyReused("There is another order for this order_ledger_id.", order_id=order_id)
    if order["status"] == CANCELLED:
        raise not_allowed(CANCELLED, CREATED)
    return order


def _as_0_1_read_it(sent: Body) -> Row:
    lines = [with_defaults(line, {}, ids=("product_id",)) for line in sent["items"]]
    return with_defaults(sent, {}, ids=("order_ledger_id", "user_id")) | {"items": lines}


def get(db: Database, order_id: str) -> Row:
    """:raises NotFound: also where only a cancel has been heard of"""
    order = db.one(ORDER, id=order_id)
    if order is None or order["fingerprint"] is None:
        raise order_not_found(order_id)
    return order


def confirm(db: Database, order_id: str) -> Row:
    """:raises NotFound, InvalidStatusTransition:"""
    return db.one(CONFIRM, id=order_id) or _expect(db, order_id, CONFIRMED)


def cancel(db: Database, order_id: str) -> Row:
    """:raises InvalidStatusTransition: it is confirmed :raises NotFound: and it will be refused if it ever comes"""
    db.one(CANCEL, id=order_id)
    return _expect(db, order_id, CANCELLED)


def _expect(db: Database, order_id: str, status: str) -> Row:
    """The order, in the status that it was to get; both are final, so it does not matter that this reads later."""
    order = get(db, order_id)
    if order["status"] != status:
        raise not_allowed(order["status"], status)
    return order
