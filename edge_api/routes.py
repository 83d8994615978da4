"""The operations of the Edge API: load → operation → dump."""

from __future__ import annotations

from typing import Any

from flask import g, request

from common.api import errors
from common.api.access import Scope
from common.api.idempotency import StoredResponse
from common.api.routes import Api, Reply
from common.database.database import Row
from common.products import schemas as product_schemas
from edge_api import event_schemas, events, operations, products, refund_schemas, refunds, schemas, webhook_routes
from edge_api.cancel import cancel
from edge_api.errors import (
    CurrencyMismatch,
    DuplicateSku,
    GatewayError,
    InsufficientStock,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotRefundable,
    PaymentDeclined,
    ProductNotFound,
    RefundExceedsRemaining,
    RefundNotFound,
    RequestAbandoned,
    UnknownProduct,
)
from edge_api.fingerprint import fingerprint_of
from edge_api.operations import Edge, Request

api = Api(
    "Holdfast Edge API",
    "Place orders and follow them. An order ends `COMPLETED`, or `FAILED` with everything undone. Products are what can"
    " be ordered.",
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


@api.route(
    "GET", "/events", access=Scope("orders:read"), query=event_schemas.EventQuery, answer=event_schemas.EventPage
)
def list_events(edge: Edge, query: dict[str, Any]) -> Row:
    """List what has happened to your orders, oldest first.

    Send `next_after` as `after` for the next page, with the same filters. Whoever follows it misses no event and sees
    none twice. An empty page is the end for now: `next_after` is then the given `after`. Events are kept for 30 days.
    """
    return events.list_events(edge, g.caller, query)


@api.route(
    "POST",
    "/orders/<uuid:order_ledger_id>/cancel",
    access=Scope("orders:write"),
    body=schemas.Cancel,
    answer=schemas.Order,
    status=202,
    idempotency_key=True,
    sent=True,
    errors=(OrderNotFound, OrderNotCancellable, errors.RequestExpired),
)
def cancel_order(edge: Edge, order_ledger_id: str, idempotency_key: str, body: Row, sent: Row) -> StoredResponse:
    """Cancel an order that is not completed.

    The saga turns back, and nothing stays charged, held or reserved: the order ends `FAILED` with `failure.code`
    `cancelled`. If its confirmation is on its way already, the order ends as one of the two, and `cancellation.status`
    says which: `done` or `refused`.
    """
    return cancel(edge, g.caller, order_ledger_id, idempotency_key, sent, body)


@api.route(
    "POST",
    "/orders/<uuid:order_ledger_id>/refunds",
    access=Scope("refunds:write"),
    query=refund_schemas.RefundOptions,
    body=refund_schemas.NewRefund,
    answer=refund_schemas.Refund,
    status=(202, 200),
    idempotency_key=True,
    sent=True,
    leads_to={"refund_id": "refund_id"},
    errors=(OrderNotFound, OrderNotRefundable, RefundExceedsRemaining, errors.RequestExpired),
)
def request_refund(
    edge: Edge, order_ledger_id: str, idempotency_key: str, query: Row, body: Row, sent: Row
) -> StoredResponse | Reply:
    """Refund a completed order: all that is left of it, an amount, or some of its pieces.

    The share is reserved at once, so that all refunds of an order together never exceed it. The money is then
    refunded, and the pieces are put back into stock if `restock` is true. The order's `refunded_cents` changes when the
    refund succeeds. A refund that fails changes nothing and may be tried again with a new key. `?dry_run=true` answers
    200 and does nothing.
    """
    if query["dry_run"]:
        return refunds.dry_run(edge.store.database, g.caller, order_ledger_id, body)
    return refunds.request(edge, g.caller, order_ledger_id, idempotency_key, body, sent)


@api.route(
    "GET",
    "/orders/<uuid:order_ledger_id>/refunds",
    access=Scope("orders:read"),
    answer=refund_schemas.RefundList,
    errors=(OrderNotFound,),
)
def list_refunds(edge: Edge, order_ledger_id: str) -> Row:
    """List the refunds of an order, oldest first."""
    return refunds.of_order(edge, g.caller, order_ledger_id)


@api.route(
    "GET",
    "/refunds/<uuid:refund_id>",
    access=Scope("orders:read"),
    query=schemas.Waiting,
    answer=refund_schemas.Refund,
    errors=(RefundNotFound,),
)
def get_refund(edge: Edge, refund_id: str, query: dict[str, float]) -> Row | Reply:
    """Show a refund. It is `PENDING` until it has `SUCCEEDED` or `FAILED`, which may take days."""
    return refunds.get(edge, g.caller, refund_id, query["wait"], request.environ)


@api.route(
    "POST",
    "/products",
    access=Scope("products:write"),
    body=product_schemas.NewProduct,
    answer=product_schemas.Product,
    status=201,
    sent=True,
    headers={"Location": "Where the product can be seen: `/products/{product_id}`."},
    leads_to={"product_id": "id"},
    errors=(DuplicateSku,),
)
def create_product(edge: Edge, sent: Row, **_: Any) -> StoredResponse:
    """Create a product.

    If no answer comes, send it again: `duplicate_sku` then names the product that was made.
    """
    return products.create(edge, sent)


@api.route(
    "GET",
    "/products",
    access=Scope("products:read"),
    query=product_schemas.ProductQuery,
    answer=product_schemas.ProductPage,
)
def list_products(edge: Edge, query: dict[str, Any]) -> StoredResponse:
    """List products: those with the given ids, or all, page by page.

    The order is stable. `next_cursor` is null at the end.
    """
    return products.page(edge, query)


@api.route(
    "GET",
    "/products/<uuid:product_id>",
    access=Scope("products:read"),
    answer=product_schemas.Product,
    errors=(ProductNotFound,),
)
def get_product(edge: Edge, product_id: str) -> StoredResponse:
    """Show a product."""
    return products.get(edge, product_id)


@api.route(
    "PATCH",
    "/products/<uuid:product_id>",
    access=Scope("products:write"),
    body=product_schemas.ProductChange,
    answer=product_schemas.Product,
    errors=(ProductNotFound,),
)
def change_product(edge: Edge, product_id: str, body: Row) -> StoredResponse:
    """Change a product's name or price, or stop and resume its sale.

    Orders keep the price at which they were placed. A body without fields changes nothing.
    """
    return products.change(edge, product_id, body)


@api.route(
    "POST",
    "/products/<uuid:product_id>/stock",
    access=Scope("products:write"),
    body=product_schemas.StockChange,
    answer=product_schemas.ChangedStock,
    idempotency_key=True,
    sent=True,
    errors=(ProductNotFound, InsufficientStock),
)
def change_stock(edge: Edge, product_id: str, idempotency_key: str, sent: Row, **_: Any) -> StoredResponse:
    """Add stock to a product, or take some away.

    `manual_adjustment` and `correction` may be negative, but never take the stock below 0.
    """
    return products.change_stock(edge, g.caller, product_id, idempotency_key, sent)


api.operations += webhook_routes.api.operations
