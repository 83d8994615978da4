"""The operations of the inventory service. Each owns its transaction.

Locks are always taken in the same order – the order's row, then products by id – so no two calls can deadlock.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from common.api.errors import Busy, IdempotencyKeyReused, ValidationFailed
from common.api.idempotency import Fingerprint, StoredResponse, fingerprint_of, once
from common.database.database import Database, Row, Transaction
from common.database.errors import RowsLocked
from common.products.schemas import ChangedStock
from domain.stock import MAX_STOCK
from inventory_service.domain import IDEMPOTENCY_TABLE, RELEASED
from inventory_service.errors import DuplicateSku, InsufficientStock, ProductNotFound, ReservationReleased

PAGE_SIZE = 50
CHANGE_TRIES = 20  # each failed one means that another change succeeded
BEFORE_ALL = str(uuid.UUID(int=0))

# Insert a product, with its initial stock as an adjustment. No row: the SKU is taken.
INSERT_PRODUCT = """
WITH product AS (
    INSERT INTO products (id, sku, name, price_cents, currency, stock_quantity)
    VALUES (gen_random_uuid(), %(sku)s, %(name)s, %(price_cents)s, %(currency)s, %(initial_stock)s)
    ON CONFLICT (sku) DO NOTHING
    RETURNING *
), adjustment AS (
    INSERT INTO inventory_adjustments (id, product_id, quantity, reason)
    SELECT gen_random_uuid(), id, stock_quantity, 'initial_stock' FROM product WHERE stock_quantity > 0
)
SELECT * FROM product
"""

# Find a product by its SKU.
PRODUCT_ID_OF_SKU = "SELECT id FROM products WHERE sku = %(sku)s"

# Products as they are sold now. Nothing is locked, and no lock is waited for.
_CURRENT = """
SELECT product.id, sku, currency, stock_quantity, product.created_at, COALESCE(version.number, 0) AS number,
    COALESCE(version.name, product.name) AS name, COALESCE(version.price_cents, product.price_cents) AS price_cents,
    COALESCE(version.is_active, product.is_active) AS is_active
FROM products AS product LEFT JOIN LATERAL (
    SELECT * FROM product_versions WHERE product_id = product.id ORDER BY number DESC LIMIT 1) AS version ON true
"""

# Find products by their ids.
PRODUCTS_BY_IDS = f"{_CURRENT} WHERE product.id = ANY(%(ids)s::uuid[]) ORDER BY product.id"

# Read the products after a given one, by id, so new products move nothing between pages.
PRODUCTS_AFTER = f"{_CURRENT} WHERE product.id > %(cursor)s ORDER BY product.id LIMIT %(limit)s"

# Add a product's next version, unless it would be the same, and show the product. `is_outrun`: another transaction has
# added that version. A parameter that is null changes nothing.
CHANGE_PRODUCT = f"""
WITH current AS ({_CURRENT} WHERE product.id = %(product_id)s), next AS (
    SELECT id, number + 1 AS number, COALESCE(%(name)s, name) AS name,
        COALESCE(%(price_cents)s::bigint, price_cents) AS price_cents,
        COALESCE(%(is_active)s::boolean, is_active) AS is_active
    FROM current
), changed AS (
    INSERT INTO product_versions (product_id, number, name, price_cents, is_active)
    SELECT next.* FROM next JOIN current USING (id)
    WHERE (next.name, next.price_cents, next.is_active) <> (current.name, current.price_cents, current.is_active)
    ON CONFLICT DO NOTHING
    RETURNING number
)
SELECT id, sku, currency, stock_quantity, created_at, next.name, next.price_cents, next.is_active,
    (next.name, next.price_cents, next.is_active) <> (current.name, current.price_cents, current.is_active)
        AND NOT EXISTS (SELECT FROM changed) AS is_outrun
FROM current JOIN next USING (id)
"""

# Read how much of a product can be reserved.
AVAILABILITY = """
SELECT id AS product_id, sku, stock_quantity, stock_quantity > 0 AS available FROM products WHERE id = %(product_id)s
"""

# Lock products until the end of the transaction, by id, the order in which all code locks them.
LOCK_PRODUCTS = "SELECT * FROM products WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE"

# Find which of these products another transaction has locked.
LOCKED_PRODUCTS = """
SELECT id FROM unnest(%(ids)s::uuid[]) AS wanted (id)
EXCEPT ALL SELECT id FROM (SELECT id FROM products WHERE id = ANY(%(ids)s::uuid[]) FOR UPDATE SKIP LOCKED) AS free
"""

# Find the products that an order has reserved.
PRODUCTS_OF_ORDER = "SELECT product_id FROM inventory_reservations WHERE order_id = %(order_id)s"

# Sum up all changes of a product's stock other than by orders.
SUM_OF_ADJUSTMENTS = """
SELECT COALESCE(sum(quantity), 0) AS total FROM inventory_adjustments WHERE product_id = %(product_id)s
"""

# Change a product's stock and record it.
ADJUST_STOCK = """
WITH adjustment AS (
    INSERT INTO inventory_adjustments (id, product_id, quantity, reason, reference_id, notes)
    VALUES (gen_random_uuid(), %(product_id)s, %(quantity)s, %(reason)s, %(reference_id)s, %(notes)s)
    RETURNING id, quantity, created_at
), product AS (
    UPDATE products SET stock_quantity = stock_quantity + %(quantity)s WHERE id = %(product_id)s
    RETURNING id, sku, stock_quantity
)
SELECT product.id AS product_id, sku, stock_quantity - quantity AS previous_quantity, quantity AS added_quantity,
    stock_quantity AS new_quantity, adjustment.id AS adjustment_id, created_at
FROM product, adjustment
"""

# Insert the order's row. No row: there is one already. Waits for a transaction that inserts or releases it.
BEGIN_RESERVATION = """
INSERT INTO order_reservations (order_id, status, fingerprint) VALUES (%(order_id)s, 'RESERVED', %(fingerprint)s)
ON CONFLICT DO NOTHING
"""

# Read an order's first reservation.
RESERVATION = """
SELECT status, fingerprint,
    ARRAY(SELECT id::text FROM inventory_reservations AS line WHERE line.order_id = reservation.order_id
        ORDER BY product_id) AS reservation_ids
FROM order_reservations AS reservation WHERE order_id = %(order_id)s
"""

# Take each line out of stock and record it. The caller has locked the products and checked their stock.
TAKE_STOCK = """
WITH line AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(product_ids)s::uuid[], %(quantities)s::integer[])
        AS line (id, product_id, quantity)
), taken AS (
    UPDATE products SET stock_quantity = stock_quantity - line.quantity FROM line WHERE products.id = line.product_id
)
INSERT INTO inventory_reservations (id, order_id, product_id, quantity)
SELECT id, %(order_id)s, product_id, quantity FROM line
"""

# Mark an order as released, even an unknown one, so a later reservation is refused. No row: it was marked already.
MARK_RELEASED = """
INSERT INTO order_reservations AS known (order_id, status, released_at) VALUES (%(order_id)s, 'RELEASED', now())
ON CONFLICT (order_id) DO UPDATE SET status = 'RELEASED', released_at = now() WHERE known.status = 'RESERVED'
RETURNING fingerprint IS NOT NULL AS was_reserved
"""

# Lock the products of an order's live lines, by id.
LOCK_RESERVED_PRODUCTS = """
SELECT products.id FROM products JOIN inventory_reservations AS line ON line.product_id = products.id
WHERE order_id = %(order_id)s AND released_at IS NULL ORDER BY products.id FOR UPDATE OF products
"""

# Put each live line back into stock. The caller has locked the products.
GIVE_BACK_STOCK = """
WITH released AS (
    UPDATE inventory_reservations SET released_at = now() WHERE order_id = %(order_id)s AND released_at IS NULL
    RETURNING product_id, quantity
), restored AS (
    UPDATE products SET stock_quantity = stock_quantity + quantity FROM released WHERE id = product_id
)
SELECT count(*) AS released_count, COALESCE(sum(quantity), 0) AS total_quantity_restored FROM released
"""


def create_product(database: Database, product: Row, default_currency: str) -> Row:
    """:raises DuplicateSku: another product has this SKU"""
    created = database.one(INSERT_PRODUCT, **{"currency": default_currency, **product})
    if created is None:
        taken = database.one(PRODUCT_ID_OF_SKU, sku=product["sku"]) or {}
        raise DuplicateSku(existing_product_id=taken["id"])
    return created


def products_by_ids(database: Database, ids: list[str]) -> Row:
    return {"products": database.all(PRODUCTS_BY_IDS, ids=ids), "next_cursor": None}


def page_of_products(database: Database, limit: int = PAGE_SIZE, cursor: str = BEFORE_ALL) -> Row:
    found = database.all(PRODUCTS_AFTER, cursor=cursor, limit=limit + 1)
    page = found[:limit]
    return {"products": page, "next_cursor": page[-1]["id"] if len(found) > limit else None}


def change_product(database: Database, product_id: str, change: Row) -> Row:
    """Change what the product is sold as. Waits for no order, and no order waits for it (docs/decisions/0052).

    :raises ProductNotFound: no such product
    :raises Busy: others change the same product all the time
    """
    for _ in range(CHANGE_TRIES):
        wanted = {"name": None, "price_cents": None, "is_active": None, **change}
        product = database.one(CHANGE_PRODUCT, product_id=product_id, **wanted)
        if product is None:
            raise ProductNotFound(product_ids=[product_id])
        if not product["is_outrun"]:
            return product
    raise Busy(product_ids=[product_id])


def availability(database: Database, product_id: str) -> Row:
    found = database.one(AVAILABILITY, product_id=product_id)
    if found is None:
        raise ProductNotFound(product_ids=[product_id])
    return found


def change_stock(database: Database, product_id: str, key: str, change: Row, sent: Row) -> StoredResponse:
    """:raises ProductNotFound, InsufficientStock, ValidationFailed: and those of `common.api.idempotency.once`"""

    fingerprint = Fingerprint({"product_id": product_id, **sent})

    def work(tx: Transaction) -> StoredResponse:
        return once(tx, IDEMPOTENCY_TABLE, "stock", key, fingerprint, lambda: _change_stock(tx, product_id, change))

    with _naming_locked_products(database, lambda: [product_id]):
        return database.transact(work)


def _change_stock(tx: Transaction, product_id: str, change: Row) -> StoredResponse:
    product = _lock_products(tx, [product_id])[0]
    quantity = change["quantity"]
    if product["stock_quantity"] + quantity < 0:
        raise _insufficient(product, -quantity)
    # The sum, not the stock: a release, which returns reserved pieces, must never be refused.
    total = (tx.one(SUM_OF_ADJUSTMENTS, product_id=product_id) or {})["total"]
    if total + quantity > MAX_STOCK:
        raise ValidationFailed(quantity=[f"The stock plus its reservations would exceed {MAX_STOCK}."])
    row = tx.one(ADJUST_STOCK, product_id=product_id, **{"reference_id": None, "notes": None, **change})
    return StoredResponse.dumped(200, ChangedStock, row)


def reserve(database: Database, order_id: str, items: Iterable[Row]) -> tuple[Row, bool]:
    """Reserve all lines of an order, or none.

    :returns: the reservation, and whether it existed before
    :raises InsufficientStock, ProductNotFound: nothing is stored, the order may try again
    :raises ReservationReleased: it was released, perhaps before it existed
    :raises IdempotencyKeyReused: it exists with other lines
    """
    lines = _merged(items)
    with _naming_locked_products(database, lambda: list(lines)):
        return database.transact(lambda tx: _reserve(tx, order_id, lines))


def _merged(items: Iterable[Row]) -> dict[str, int]:
    """The quantity of each product, in the order of their ids."""
    lines: dict[str, int] = {}
    for item in items:
        lines[item["product_id"]] = lines.get(item["product_id"], 0) + item["quantity"]
    return dict(sorted(lines.items()))


def _reserve(tx: Transaction, order_id: str, lines: dict[str, int]) -> tuple[Row, bool]:
    # Of the reserved lines, without any field that has a default. Never change it: stored fingerprints depend on it.
    fingerprint = fingerprint_of(lines)
    if not tx.execute(BEGIN_RESERVATION, order_id=order_id, fingerprint=fingerprint):
        return _described(order_id, lines, _first_reservation(tx, order_id, fingerprint)), True
    for product in _lock_products(tx, list(lines)):
        if lines[product["id"]] > product["stock_quantity"]:
            raise _insufficient(product, lines[product["id"]])
    ids = [str(uuid.uuid4()) for _ in lines]
    tx.execute_at_the_end(
        TAKE_STOCK, ids=ids, order_id=order_id, product_ids=list(lines), quantities=list(lines.values())
    )
    return _described(order_id, lines, ids), False


def _first_reservation(tx: Transaction, order_id: str, fingerprint: str) -> list[str]:
    row = tx.one(RESERVATION, order_id=order_id) or {}
    if row["status"] == RELEASED:
        raise ReservationReleased(order_id=order_id)
    if row["fingerprint"] != fingerprint:
        raise IdempotencyKeyReused()
    return list(row["reservation_ids"])


def _described(order_id: str, lines: dict[str, int], ids: list[str]) -> Row:
    return {
        "order_id": order_id,
        "reservation_ids": ids,
        "line_items_reserved": len(lines),
        "total_quantity_reserved": sum(lines.values()),
    }


def _lock_products(tx: Transaction, ids: list[str]) -> list[Row]:
    """:raises ProductNotFound: naming all unknown ids"""
    products = tx.all(LOCK_PRODUCTS, ids=ids)
    if len(products) < len(ids):
        raise ProductNotFound(product_ids=sorted(set(ids) - {product["id"] for product in products}))
    return products


@contextmanager
def _naming_locked_products(database: Database, ids: Callable[[], list[str]]) -> Iterator[None]:
    """Name the products that could not be locked, so that callers defer only the orders for them."""
    try:
        yield
    except RowsLocked as error:
        locked = sorted(row["id"] for row in database.all(LOCKED_PRODUCTS, ids=ids()))
        raise (Busy(product_ids=locked) if locked else Busy()) from error


def _insufficient(product: Row, requested: int) -> InsufficientStock:
    available = product["stock_quantity"]
    return InsufficientStock(
        product_id=product["id"], product_sku=product["sku"], requested=requested, available=available
    )


def release(database: Database, order_id: str) -> Row:
    """Release an order's reservation and refuse it from now on, even if the order is unknown."""
    with _naming_locked_products(
        database, lambda: [row["product_id"] for row in database.all(PRODUCTS_OF_ORDER, order_id=order_id)]
    ):
        return {"order_id": order_id, **database.transact(lambda tx: _release(tx, order_id))}


def _release(tx: Transaction, order_id: str) -> Row:
    marked = tx.one(MARK_RELEASED, order_id=order_id)
    if marked is None or not marked["was_reserved"]:
        return {"released_count": 0, "total_quantity_restored": 0}
    tx.execute(LOCK_RESERVED_PRODUCTS, order_id=order_id)
    return tx.one(GIVE_BACK_STOCK, order_id=order_id) or {}
