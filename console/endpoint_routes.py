"""The routes about webhook endpoints, a part of the console's API."""

from __future__ import annotations

from typing import Any

from flask import g

from common.api.routes import Api
from common.database.database import Row
from console import endpoint_schemas as schemas
from console import endpoints
from console.access import OPERATOR, VIEWER
from console.context import Console
from console.endpoints import Change
from console.writes import NotKnown
from edge_api import webhook_schemas as edge
from edge_api.webhook_errors import DeliveryNotFound, EndpointNotFound

ONE = "/api/webhook_endpoints/<text:webhook_endpoint_id>"
api = Api("Webhooks", "A part of the console's API.")


@api.route("GET", "/api/webhook_endpoints", access=VIEWER, query=schemas.EndpointQuery, answer=schemas.EndpointPage)
def list_webhook_endpoints(console: Console, query: dict[str, Any]) -> Row:
    """List the webhook endpoints of all clients, without their secrets."""
    return endpoints.page(console.database, query)


@api.route("GET", ONE, access=VIEWER, answer=schemas.Endpoint, errors=(EndpointNotFound,))
def get_webhook_endpoint(console: Console, webhook_endpoint_id: str) -> Row:
    """Show a webhook endpoint."""
    return endpoints.read(console.database, webhook_endpoint_id)


@api.route(
    "PATCH",
    ONE,
    access=OPERATOR,
    body=schemas.EndpointStatus,
    answer=schemas.Endpoint,
    idempotency_key=True,
    errors=(EndpointNotFound,),
)
def change_webhook_endpoint(console: Console, webhook_endpoint_id: str, idempotency_key: str, body: Row) -> Row:
    """Enable or disable a webhook endpoint. One that is enabled gets all events since it was disabled."""
    change = _change(console, webhook_endpoint_id, idempotency_key)
    endpoints.set_status(console.database, change, body["status"], body["reason"])
    return endpoints.read(console.database, webhook_endpoint_id)


@api.route(
    "POST",
    f"{ONE}/test",
    access=OPERATOR,
    answer=edge.WebhookDelivery,
    status=202,
    idempotency_key=True,
    errors=(EndpointNotFound,),
)
def test_webhook_endpoint(console: Console, webhook_endpoint_id: str, idempotency_key: str) -> Row:
    """Deliver a test event."""
    done = endpoints.send_test(console.database, _change(console, webhook_endpoint_id, idempotency_key))
    return endpoints.delivery(console.database, webhook_endpoint_id, done.result["id"])


@api.route(
    "GET",
    f"{ONE}/deliveries",
    access=VIEWER,
    query=edge.WebhookDeliveryQuery,
    answer=edge.WebhookDeliveries,
    errors=(EndpointNotFound,),
)
def list_webhook_deliveries(console: Console, webhook_endpoint_id: str, query: Row) -> Row:
    """List the deliveries to an endpoint, newest first."""
    endpoint = endpoints.read(console.database, webhook_endpoint_id)
    return console.endpoints.deliveries(endpoint["client"], webhook_endpoint_id, query)


@api.route(
    "POST",
    f"{ONE}/deliveries/<uuid:delivery_id>/resend",
    access=OPERATOR,
    answer=edge.WebhookDelivery,
    status=202,
    idempotency_key=True,
    errors=(EndpointNotFound, DeliveryNotFound),
)
def resend_webhook_delivery(console: Console, webhook_endpoint_id: str, delivery_id: str, idempotency_key: str) -> Row:
    """Deliver once more, from the first attempt. One that is in flight is left alone."""
    endpoints.resend(console.database, _change(console, webhook_endpoint_id, idempotency_key), delivery_id)
    return endpoints.delivery(console.database, webhook_endpoint_id, delivery_id)


@api.route(
    "POST",
    f"{ONE}/resend",
    access=OPERATOR,
    body=edge.ResendSince,
    answer=schemas.Resent,
    status=202,
    idempotency_key=True,
    errors=(EndpointNotFound, NotKnown),
)
def resend_webhook_deliveries(console: Console, webhook_endpoint_id: str, idempotency_key: str, body: Row) -> Row:
    """Deliver once more what failed since a time, or all of it.

    If there is more than one request may resend, `next_since` is the `since` of the next one.
    """
    change = _change(console, webhook_endpoint_id, idempotency_key)
    return endpoints.resend_since(console.endpoints, change, body["since"], only_failed=body["only_failed"]).result


def _change(console: Console, id_: str, key: str) -> Change:
    return Change(g.caller, key, endpoints.read(console.database, id_))
