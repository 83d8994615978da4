"""The calls of the inventory service: load → operation → dump."""

from __future__ import annotations

from typing import Any

from common.api.errors import IdempotencyKeyReused
from common.api.idempotency import Answer
from common.api.routes import Api, Reply
from common.database.database import Database, Row
from inventory_service import operations, schemas
from inventory_service.errors import DuplicateSku, InsufficientStock, ProductNotFound, ReservationReleased

api = Api("Inventory service", "Products, their stock, and what of it is reserved for orders.")


@api.route(
    "POST",
    "/inventory/products",
    body=schemas.NewProduct,
    answer=schemas.Product,
    status=201,
    leads_to={"product_id": "id"},
    errors=(DuplicateSku,),
)
def create_product(db: Database, body: Row) -> Row:
    """Create a product.

    Its initial stock is recorded as an adjustment.
    """
    return operations.create_product(db, body)


@api.route("GET", "/inventory/products", query=schemas.ProductQuery, answer=schemas.ProductPage)
def list_products(db: Database, query: dict[str, Any]) -> Row:
    """List products: those with the given ids, or all, page by page.

    The order is stable. `next_cursor` is null at the end.
    """
    return operations.products_by_ids(db, **query) if "ids" in query else operations.page_of_products(db, **query)


@api.route(
    "GET",
    "/inventory/products/<uuid:product_id>/availability",
    answer=schemas.Availability,
    errors=(ProductNotFound,),
)
def get_availability(db: Database, product_id: str) -> Row:
    """Say how much of a product is in stock and not reserved."""
    return operations.availability(db, product_id)


@api.route(
    "POST",
    "/inventory/products/<uuid:product_id>/stock",
    body=schemas.StockChange,
    answer=schemas.ChangedStock,
    idempotency_key=True,
    errors=(ProductNotFound, InsufficientStock),
)
def change_stock(db: Database, product_id: str, idempotency_key: str, body: Row) -> Answer:
    """Add stock to a product, or take some away.

    `manual_adjustment` and `correction` may be negative, but never take the stock below 0.
    """
    return operations.change_stock(db, product_id, idempotency_key, body)


@api.route(
    "POST",
    "/inventory/reservations",
    body=schemas.NewReservation,
    answer=schemas.Reservation,
    status=201,
    leads_to={"order_id": "order_id"},
    errors=(InsufficientStock, ProductNotFound, ReservationReleased, IdempotencyKeyReused),
)
def reserve(db: Database, body: Row) -> Reply:
    """Reserve all the lines of an order, or none.

    Lines for one product are added up. The same order again gets the first answer again; after its release, a refusal.
    """
    reservation, was_made_before = operations.reserve(db, **body)
    return Reply(reservation, 201, {"Idempotency-Replayed": "true"} if was_made_before else {})


@api.route("DELETE", "/inventory/reservations/<uuid:order_id>", answer=schemas.Release)
def release(db: Database, order_id: str) -> Row:
    """Give back what an order has reserved.

    The same again, or for an order never seen: zeros; either way a reservation that arrives later is refused.
    """
    return operations.release(db, order_id)
