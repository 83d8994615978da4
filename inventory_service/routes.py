"""The routes of the inventory service: load → operation → dump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.api.access import callers
from common.api.errors import IdempotencyKeyReused
from common.api.idempotency import StoredResponse
from common.api.routes import Api, Reply
from common.database.database import Database, Row
from common.products import schemas as products
from inventory_service import operations, schemas
from inventory_service.errors import DuplicateSku, InsufficientStock, ProductNotFound, ReservationReleased

api = Api("Inventory service", "Products, their stock, and reservations for orders.")


@dataclass(frozen=True)
class Context:
    database: Database
    currency: str
    """The currency of a product that is created without one."""


@api.route(
    "POST",
    "/inventory/products",
    access=callers("edge_api"),
    body=products.NewProduct,
    answer=products.Product,
    status=201,
    leads_to={"product_id": "id"},
    errors=(DuplicateSku,),
)
def create_product(context: Context, body: Row) -> Row:
    """Create a product.

    Its initial stock is recorded as an adjustment. The default of `currency` is the setting `CURRENCY`.
    """
    return operations.create_product(context.database, body, context.currency)


@api.route(
    "GET", "/inventory/products", access=callers("edge_api"), query=products.ProductQuery, answer=products.ProductPage
)
def list_products(context: Context, query: dict[str, Any]) -> Row:
    """List products: those with the given ids, or all, page by page.

    The order is stable. `next_cursor` is null at the end.
    """
    return (
        operations.products_by_ids(context.database, **query)
        if "ids" in query
        else operations.page_of_products(context.database, **query)
    )


@api.route(
    "PATCH",
    "/inventory/products/<uuid:product_id>",
    access=callers("edge_api", "console"),
    body=products.ProductChange,
    answer=products.Product,
    errors=(ProductNotFound,),
)
def change_product(context: Context, product_id: str, body: Row) -> Row:
    """Change a product's name or price, or stop and resume its sale.

    Orders keep the price at which they were placed. A body without fields changes nothing.
    """
    return operations.change_product(context.database, product_id, body)


@api.route(
    "GET",
    "/inventory/products/<uuid:product_id>/availability",
    access=callers(),
    answer=schemas.Availability,
    errors=(ProductNotFound,),
)
def get_availability(context: Context, product_id: str) -> Row:
    """Get how much of a product is in stock and not reserved."""
    return operations.availability(context.database, product_id)


@api.route(
    "POST",
    "/inventory/products/<uuid:product_id>/stock",
    access=callers("edge_api", "orchestrator", "console"),
    body=products.StockChange,
    answer=products.ChangedStock,
    idempotency_key=True,
    sent=True,
    errors=(ProductNotFound, InsufficientStock),
)
def change_stock(context: Context, product_id: str, idempotency_key: str, body: Row, sent: Row) -> StoredResponse:
    """Add stock to a product, or take some away.

    `manual_adjustment` and `correction` may be negative, but never take the stock below 0.
    """
    return operations.change_stock(context.database, product_id, idempotency_key, body, sent)


@api.route(
    "POST",
    "/inventory/reservations",
    access=callers("orchestrator"),
    body=schemas.NewReservation,
    answer=schemas.Reservation,
    status=201,
    leads_to={"order_id": "order_id"},
    errors=(InsufficientStock, ProductNotFound, ReservationReleased, IdempotencyKeyReused),
)
def reserve(context: Context, body: Row) -> Reply:
    """Reserve all lines of an order, or none.

    Lines for one product are added up. Repeating the call returns the first answer. After a release it is refused.
    """
    reservation, was_made_before = operations.reserve(context.database, **body)
    return Reply(reservation, 201, {"Idempotency-Replayed": "true"} if was_made_before else {})


@api.route("DELETE", "/inventory/reservations/<uuid:order_id>", access=callers("orchestrator"), answer=schemas.Release)
def release(context: Context, order_id: str) -> Row:
    """Release an order's reservation.

    Repeating the call, or releasing an unknown order, returns zeros. A reservation that arrives later is refused.
    """
    return operations.release(context.database, order_id)
