"""The operations of the orders service. Each is one statement that commits by itself, and a check of its result.

When a confirm and a cancel race, exactly one finds the order CREATED. The other waits for the row and then finds
another status.
"""

from __future__ import annotations

from common.api.errors import IdempotencyKeyReused
from common.api.idempotency import Body, Fingerprint, with_defaults
from common.database.database import Database, Row
from domain.ids import order_id_for
from orders_service.domain import CANCELLED, CONFIRMED, CREATED
from orders_service.errors import InvalidStatusTransition, OrderNotFound

# Insert an order with its lines. No row: it exists already, or was cancelled before it existed.
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

# An order with its lines in their original sequence. `fingerprint` is null in the tombstone of a cancel.
_WITH_LINES = """*, (
    SELECT json_agg(json_build_object(
        'product_id', product_id, 'quantity', quantity, 'unit_price_cents', unit_price_cents) ORDER BY position)
    FROM order_items WHERE order_id = orders.id
) AS items"""

ORDER = f"SELECT {_WITH_LINES} FROM orders WHERE id = %(id)s"

# Confirm an order that is CREATED. No row: it has another status.
CONFIRM = f"""
UPDATE orders SET status = 'CONFIRMED', updated_at = now() WHERE id = %(id)s AND status = 'CREATED'
RETURNING {_WITH_LINES}
"""

# Cancel an order that is CREATED. An unknown order gets a tombstone, which refuses it when it arrives.
CANCEL = """
INSERT INTO orders (id, status) VALUES (%(id)s, 'CANCELLED')
ON CONFLICT (id) DO UPDATE SET status = 'CANCELLED', updated_at = now() WHERE orders.status = 'CREATED'
"""


def create(database: Database, new: Row, sent: Row) -> tuple[Row, bool]:
    """Create the order of a ledger entry.

    :returns: the order as it is now, and whether it existed before
    :raises IdempotencyKeyReused: it exists with other content
    :raises InvalidStatusTransition: it is cancelled, perhaps since before it existed
    """
    fingerprint = Fingerprint(sent, lambda: _as_0_1_read_it(sent))
    order_id = order_id_for(new["order_ledger_id"])
    items = new["items"]
    created = database.one(
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
    return _made_before(database, order_id, fingerprint), True


def _made_before(database: Database, order_id: str, fingerprint: Fingerprint) -> Row:
    order = database.one(ORDER, id=order_id) or {}
    if order["fingerprint"] is not None and not fingerprint.matches(order["fingerprint"]):
        raise IdempotencyKeyReused("There is another order for this order_ledger_id.", order_id=order_id)
    if order["status"] == CANCELLED:
        raise InvalidStatusTransition(CANCELLED, CREATED)
    return order


def _as_0_1_read_it(sent: Body) -> Row:
    lines = [with_defaults(line, {}, ids=("product_id",)) for line in sent["items"]]
    return with_defaults(sent, {}, ids=("order_ledger_id", "user_id")) | {"items": lines}


def get(database: Database, order_id: str) -> Row:
    """:raises OrderNotFound: also if only its cancel has arrived"""
    order = database.one(ORDER, id=order_id)
    if order is None or order["fingerprint"] is None:
        raise OrderNotFound(order_id)
    return order


def confirm(database: Database, order_id: str) -> Row:
    """:raises OrderNotFound, InvalidStatusTransition:"""
    return database.one(CONFIRM, id=order_id) or _expect(database, order_id, CONFIRMED)


def cancel(database: Database, order_id: str) -> Row:
    """:raises InvalidStatusTransition: it is confirmed :raises OrderNotFound: and a later create is refused"""
    database.one(CANCEL, id=order_id)
    return _expect(database, order_id, CANCELLED)


def _expect(database: Database, order_id: str, status: str) -> Row:
    """Return the order in this status. Both statuses are final, so a later read is safe."""
    order = get(database, order_id)
    if order["status"] != status:
        raise InvalidStatusTransition(order["status"], status)
    return order
