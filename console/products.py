"""Products for operators: lists and one product from the books, changes through the inventory service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.database.database import Database, Row
from console import product_statements as statements
from console.inventory import Inventory, key_of
from console.writes import Done, Write, around
from edge_api.cursor import page_of
from edge_api.errors import ProductNotFound

MOST_OPEN = 5_000  # open orders that are looked at for reserved pieces: 50 ms
VERSIONS = 10


def page(database: Database, query: Mapping[str, Any]) -> Row:
    """One page of products by SKU, and the SKU after which the next one begins: null at the end.

    :param query: `limit`, and `cursor`, or `sku` for that one product
    """
    if "sku" in query:
        found = database.all(statements.PRODUCT_BY_SKU, sku=query["sku"])
        return {"products": _with_reserved(database, found), "next_cursor": None}
    limit = query["limit"]
    found = database.all(statements.PAGE, after=query.get("cursor", ""), limit=limit + 1)
    shown = found[:limit]
    next_cursor = shown[-1]["sku"] if len(found) > limit else None
    return {"products": _with_reserved(database, shown), "next_cursor": next_cursor}


def read(database: Database, product_id: str, query: Mapping[str, Any]) -> Row:
    """One product, with a page of its adjustments. :raises ProductNotFound:"""
    found = database.all(statements.PRODUCT, id=product_id)
    if not found:
        raise ProductNotFound(f"There is no such product: {product_id}.", product_ids=[product_id])
    (product,) = _with_reserved(database, found)
    versions = database.all(statements.VERSIONS, product_id=product_id, limit=VERSIONS)
    return {**product, "versions": versions, **_adjustments(database, product_id, query)}


def change_stock(database: Database, inventory: Inventory, operator: str, key: str, product_id: str, body: Row) -> Done:
    """Add stock, or correct it.

    :param body: as the inventory service takes it
    :raises ProductNotFound, InsufficientStock, ValidationFailed, Unanswered: and what `writes.around` raises
    """
    # Notes may have personal data: the inventory service keeps them with the adjustment.
    noted = {"product_id": product_id, "quantity": body["quantity"], "reason": body["reason"]}
    write = Write(operator, key, "products.stock", noted, {"product_id": product_id, **body})
    call_key = key_of(operator, key)
    return around(database, write, lambda: inventory.change_stock(product_id, call_key, body), may_repeat=True)


def change(
    database: Database, inventory: Inventory, operator: str, key: str, product_id: str, changes: Row, reason: str
) -> Done:
    """Change the name or the price, or end and resume the sale.

    The inventory service takes no key for this, and a late repeat would undo what was changed since. So a key whose
    outcome is not known is refused.

    :raises ProductNotFound, ValidationFailed, NotKnown: and what `writes.around` raises
    """
    asked = {"product_id": product_id, "changes": changes, "reason": reason}
    before = _before(database, product_id, changes)
    write = Write(operator, key, "products.change", {**asked, "before": before}, asked)
    return around(database, write, lambda: inventory.change(product_id, changes), may_repeat=False)


def _before(database: Database, product_id: str, changes: Row) -> Row:
    found = database.one(statements.PRODUCT, id=product_id) or {}
    return {name: found[name] for name in changes if name in found}


def _with_reserved(database: Database, products: list[Row]) -> list[Row]:
    """Add the pieces that open orders have reserved. `reserved_is_all`: false, it may be more."""
    ids = [product["id"] for product in products]
    found = database.all(statements.RESERVED, ids=ids, most=MOST_OPEN) if ids else []
    reserved = {row["product_id"]: row for row in found}
    return [
        {**product, "reserved": row["pieces"], "reserved_is_all": row["is_all"]}
        for product in products
        for row in (reserved[product["id"]],)
    ]


def _adjustments(database: Database, product_id: str, query: Mapping[str, Any]) -> Row:
    limit, after = query["limit"], query.get("cursor")
    names = {"product_id": product_id, "limit": limit + 1}
    found = (
        database.all(statements.ADJUSTMENTS_AFTER, **names, created_at=after.created_at, after=after.id)
        if after
        else database.all(statements.ADJUSTMENTS, **names)
    )
    shown, next_cursor = page_of(found, limit)
    return {"adjustments": shown, "next_cursor": next_cursor}
