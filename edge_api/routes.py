"""The operations of the Edge API: load → operation → dump."""

from __future__ import annotations

from typing import Any

from flask import g, request

from common.api import errors
from common.api.access import Scope
from common.api.idempotency import StoredResponse
from common.api.routes import Api, Reply
from common.database.database import Row
from edge_api import operations, schemas
from edge_api.errors import (
    CurrencyMismatch,
    GatewayError,
    OrderNotFound,
    PaymentDeclined,
    RequestAbandoned,
    UnknownProduct,
)
from edge_api.fingerprint import fingerprint_of
from edge_api.operations import Edge, Request

api = Api(
    "Holdfast Edge API",
    "Place orders and follow them. An order ends `COMPLETED`, or `FAILED` with everything undone.",
)


@api.route(
    "POST",
    "/orders",
    access=Scope("orders:write"),
    body=schemas.NewOrder,
    answer=schemas.AcceptedOrder,
    status=202,
    idempotency_key=True,
    sent=True,
    headers={"Location": "Where the order can be seen: `/orders/{order_ledger_id}`."},
    leads_to={"order_ledger_id": "order_ledger_id"},
    errors=(
        CurrencyMismatch,
        PaymentDeclined,
        RequestAbandoned,
        errors.RequestExpired,
        UnknownProduct,
        errors.RateLimited,
        GatewayError,
    ),
)
def place_order(edge: Edge, idempotency_key: str, body: dict[str, Any], sent: dict[str, Any]) -> StoredResponse:
    """Place an order.

    Holds the customer's money and answers 202; the order is then created, reserved, captured and confirmed.
    Send the same request with the same key again whenever no answer came: nothing happens twice.
    """
    payers = edge.limits.payers(g.caller)
    return operations.place_order(edge, Request(g.caller, idempotency_key, body, fingerprint_of(sent), payers))


@api.route("GET", "/orders", access=Scope("orders:read"), query=schemas.OrderQuery, answer=schemas.OrderPage)
def list_orders(edge: Edge, query: dict[str, Any]) -> Row:
    """List your orders, newest first.

    An order must fit all filters. `next_cursor` is null at the end; otherwise send it as `cursor`, with the same
    filters, for the next page.
    """
    return operations.list_orders(edge, g.caller, query)


@api.route(
    "GET",
    "/orders/<uuid:order_ledger_id>",
    access=Scope("orders:read"),
    query=schemas.Waiting,
    answer=schemas.Order,
    errors=(OrderNotFound,),
)
def get_order(edge: Edge, order_ledger_id: str, query: dict[str, float]) -> Row | Reply:
    """Show an order and its history."""
    return operations.get_order(edge, g.caller, order_ledger_id, query["wait"], request.environ)
