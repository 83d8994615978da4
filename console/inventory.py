"""Calls to the inventory service. The console writes no product itself."""

from __future__ import annotations

import hashlib
from typing import Any

from common.api import errors
from common.api.errors import ApiError, Busy
from common.calls.client import No, NoEffect, NotAllowed, ServiceClient, Yes
from common.database.database import Row
from common.products.schemas import ChangedStock, Product
from console.writes import Unanswered
from edge_api.errors import InsufficientStock, ProductNotFound

PATH = "/inventory/products"
REFUSALS: dict[str, type[ApiError]] = {
    refusal.code: refusal
    for refusal in (
        InsufficientStock,
        ProductNotFound,
        errors.ValidationFailed,
        errors.IdempotencyKeyReused,
        errors.RequestExpired,
    )
}
PRODUCT, CHANGED_STOCK = frozenset(Product().fields), frozenset(ChangedStock().fields)


class NotAllowedThere(ApiError):
    """The inventory service refuses the console's token, so nothing was done. Check SERVICE_TOKEN_KEYS of both."""

    status, code = 502, "not_allowed"


class Inventory:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def change(self, product_id: str, changes: Row) -> Row:
        """:returns: the product"""
        return self._ask("PATCH", f"{PATH}/{product_id}", changes, is_yes=lambda body: body.keys() >= PRODUCT)

    def change_stock(self, product_id: str, key: str, change: Row) -> Row:
        """:param key: the same for each repeat"""
        path = f"{PATH}/{product_id}/stock"
        return self._ask("POST", path, change, key=key, is_yes=lambda body: body.keys() >= CHANGED_STOCK)

    def _ask(self, method: str, path: str, body: Row, **options: Any) -> Row:
        """:raises Unanswered: nobody knows whether it was done :raises ApiError: it was not"""
        match self._client.ask(method, path, body, refusals=frozenset(REFUSALS), **options):
            case Yes(found):
                return found
            case No(code, message, details) if code in REFUSALS:
                raise REFUSALS[code](None if code == errors.ValidationFailed.code else message, **details)
            case NoEffect(reason, details):
                raise Busy(**details) from RuntimeError(reason)
            case NotAllowed(reason):
                raise NotAllowedThere() from RuntimeError(reason)
            case other:
                raise Unanswered("The inventory service gave no answer.") from RuntimeError(str(other))


def key_of(operator: str, key: str) -> str:
    """A key in books that others use, too. It cannot be that of another operator, a client or the orchestrator."""
    digest = hashlib.sha256("\n".join((operator, key)).encode()).hexdigest()
    return f"console:{digest}"
