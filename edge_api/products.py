"""Products, which the inventory service keeps. Each call is forwarded to it, and its answer is returned."""

from __future__ import annotations

import hashlib
from typing import Any

from common.api import errors
from common.api.errors import ApiError
from common.api.idempotency import StoredResponse
from common.calls.client import No, Yes
from common.database.database import Row
from common.json_text import encode
from common.products.schemas import ChangedStock, Product
from edge_api.errors import DuplicateSku, InsufficientStock, ProductNotFound, ProductsUnavailable
from edge_api.operations import Edge

PATH = "/inventory/products"
# The refusals that are the client's, by their code. Any other answer means that nothing is known.
FORWARDED: dict[str, type[ApiError]] = {
    refusal.code: refusal
    for refusal in (
        DuplicateSku,
        InsufficientStock,
        ProductNotFound,
        errors.ValidationFailed,
        errors.IdempotencyKeyReused,
        errors.RequestInProgress,
        errors.RequestExpired,
    )
}
PRODUCT, CHANGED_STOCK = frozenset(Product().fields), frozenset(ChangedStock().fields)


def create(edge: Edge, product: Row) -> StoredResponse:
    """:param product: as the client sent it, so that the inventory service fills in what is left out"""
    made = _ask(edge, "POST", PATH, product, is_yes=lambda body: body.keys() >= PRODUCT).body
    return StoredResponse(201, encode.readable(made), headers={"Location": f"/products/{made['id']}"})


def page(edge: Edge, query: dict[str, Any]) -> StoredResponse:
    """Some products by their ids, or the next ones after a cursor."""
    params = {name: ",".join(value) if name == "ids" else str(value) for name, value in query.items()}
    return _shown(_ask(edge, "GET", PATH, params=params, is_yes=_has_products))


def get(edge: Edge, product_id: str) -> StoredResponse:
    """:raises ProductNotFound: no such product"""
    found = _ask(edge, "GET", PATH, params={"ids": product_id}, is_yes=_has_products).body["products"]
    if not found:
        raise ProductNotFound(f"There is no such product: {product_id}.", product_ids=[product_id])
    return StoredResponse(200, encode.readable(found[0]))


def change(edge: Edge, product_id: str, changes: Row) -> StoredResponse:
    """Change a product's name or price, or stop and resume its sale."""
    return _shown(_ask(edge, "PATCH", f"{PATH}/{product_id}", changes, is_yes=lambda body: body.keys() >= PRODUCT))


def change_stock(edge: Edge, client: str, product_id: str, key: str, sent: Row) -> StoredResponse:
    """:param sent: the body as the client sent it: its fingerprint is taken by the inventory service"""
    path = f"{PATH}/{product_id}/stock"
    answer = _ask(
        edge, "POST", path, sent, key=_key_of(client, key), is_yes=lambda body: body.keys() >= CHANGED_STOCK
    )  # fmt: skip
    return _shown(answer)


def _key_of(client: str, key: str) -> str:
    """The inventory service's key for a client's. Two clients may use the same key for different changes."""
    digest = hashlib.sha256("\n".join((client, key)).encode()).hexdigest()
    return f"client:{digest}"


def _ask(edge: Edge, method: str, path: str, body: Row | None = None, **options: Any) -> Yes:
    """Forward a call.

    :raises ApiError: the refusal of the inventory service, as it gave it
    :raises ProductsUnavailable: it gave no answer that can be relied on
    """
    inventory = edge.services.inventory
    if pause_s := inventory.pause_s():
        refusal = ProductsUnavailable()
        refusal.retry_after = pause_s
        raise refusal
    with edge.bulkhead.slot():
        answer = inventory.ask(method, path, body, refusals=frozenset(FORWARDED), **options)
    match answer:
        case Yes():
            return answer
        case No(code, message, details) if code in FORWARDED:
            # A validation error has the same message here as there; `ask` puts the details into its own.
            raise FORWARDED[code](None if code == errors.ValidationFailed.code else message, **details)
    raise ProductsUnavailable() from RuntimeError(str(answer))


def _shown(answer: Yes) -> StoredResponse:
    return StoredResponse(200, encode.readable(answer.body), replayed=answer.is_replayed)


def _has_products(body: Row) -> bool:
    return "next_cursor" in body and all(product.keys() >= PRODUCT for product in body["products"])
