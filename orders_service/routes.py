"""The calls of the orders service: load → operation → dump."""

from __future__ import annotations

from common.api.errors import IdempotencyKeyReused, InvalidStatusTransition
from common.api.routes import Api, Reply
from common.database.database import Database, Row
from orders_service import operations, schemas

api = Api("Orders service", "The orders that have come out of requests. Each is CREATED, then CONFIRMED or CANCELLED.")


@api.route(
    "POST",
    "/orders",
    body=schemas.NewOrder,
    sent=True,
    answer=schemas.Order,
    status=(201, 200),
    leads_to={"order_id": "id"},
    errors=(IdempotencyKeyReused, InvalidStatusTransition),
)
def create_order(db: Database, body: Row, sent: Row) -> Reply:
    """Create the order of a ledger entry: 201 the first time, 200 with the same order after.

    There is one order for each `order_ledger_id`. If it has been cancelled already, it is refused.
    """
    order, was_made_before = operations.create(db, body, sent)
    return Reply(order, 200, {"Idempotency-Replayed": "true"}) if was_made_before else Reply(order, 201)


@api.route("GET", "/orders/<uuid:order_id>", answer=schemas.Order)
def get_order(db: Database, order_id: str) -> Row:
    """Get an order."""
    return operations.get(db, order_id)


@api.route("PUT", "/orders/<uuid:order_id>/confirm", answer=schemas.Order, errors=(InvalidStatusTransition,))
def confirm_order(db: Database, order_id: str) -> Row:
    """Confirm an order, for good. The same again: the same order."""
    return operations.confirm(db, order_id)


@api.route("PUT", "/orders/<uuid:order_id>/cancel", answer=schemas.Order, errors=(InvalidStatusTransition,))
def cancel_order(db: Database, order_id: str) -> Row:
    """Cancel an order, for good. The same again: the same order.

    An order that is not known is not found, and is refused if it is created later.
    """
    return operations.cancel(db, order_id)
