"""The routes of the orders service: load → operation → dump."""

from __future__ import annotations

from common.api.access import callers
from common.api.errors import IdempotencyKeyReused
from common.api.routes import Api, Reply
from common.database.database import Database, Row
from orders_service import operations, schemas
from orders_service.errors import InvalidStatusTransition

api = Api("Orders service", "Orders made from requests. Each is CREATED, then CONFIRMED or CANCELLED.")


@api.route(
    "POST",
    "/orders",
    access=callers("orchestrator"),
    body=schemas.NewOrder,
    sent=True,
    answer=schemas.Order,
    status=(201, 200),
    leads_to={"order_id": "id"},
    errors=(IdempotencyKeyReused, InvalidStatusTransition),
)
def create_order(database: Database, body: Row, sent: Row) -> Reply:
    """Create the order of a ledger entry: 201 the first time, then 200 with the same order.

    There is one order for each `order_ledger_id`. An order that was cancelled before it arrived is refused.
    """
    order, was_made_before = operations.create(database, body, sent)
    return Reply(order, 200, {"Idempotency-Replayed": "true"}) if was_made_before else Reply(order, 201)


@api.route("GET", "/orders/<uuid:order_id>", access=callers(), answer=schemas.Order)
def get_order(database: Database, order_id: str) -> Row:
    """Get an order."""
    return operations.get(database, order_id)


@api.route(
    "PUT",
    "/orders/<uuid:order_id>/confirm",
    access=callers("orchestrator"),
    answer=schemas.Order,
    errors=(InvalidStatusTransition,),
)
def confirm_order(database: Database, order_id: str) -> Row:
    """Confirm an order permanently. Repeating the call returns the same order."""
    return operations.confirm(database, order_id)


@api.route(
    "PUT",
    "/orders/<uuid:order_id>/cancel",
    access=callers("orchestrator"),
    answer=schemas.Order,
    errors=(InvalidStatusTransition,),
)
def cancel_order(database: Database, order_id: str) -> Row:
    """Cancel an order permanently. Repeating the call returns the same order.

    An unknown order is not found, and is refused if it arrives later.
    """
    return operations.cancel(database, order_id)
