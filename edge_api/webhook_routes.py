"""The routes of webhook endpoints: load → operation → dump."""

from __future__ import annotations

from typing import Any

from flask import g

from common.api.access import Scope
from common.api.routes import Api, Reply
from common.database.database import Row
from edge_api import webhook_schemas as schemas
from edge_api.operations import Edge
from edge_api.webhook_errors import DeliveryNotFound, EndpointNotFound, TooManyEndpoints, TooManyRotations

WRITE = Scope("webhooks:write")
ONE = "/webhook_endpoints/<webhook_endpoint_id>"
api = Api("Webhook endpoints", "A part of the Edge API.")


@api.route(
    "POST",
    "/webhook_endpoints",
    access=WRITE,
    body=schemas.NewWebhookEndpoint,
    answer=schemas.WebhookEndpointWithSecret,
    status=201,
    headers={"Location": "Where the endpoint can be seen: `/webhook_endpoints/{webhook_endpoint_id}`."},
    leads_to={"webhook_endpoint_id": "id"},
    errors=(TooManyEndpoints,),
)
def create_webhook_endpoint(edge: Edge, body: Row) -> Reply:
    """Make a webhook endpoint.

    The events that happen from now on are delivered to its URL, signed with the secret. The secret is in no other
    answer than this one and that of a rotation.
    """
    made = edge.endpoints.create(g.caller, body)
    return Reply(made, 201, {"Location": f"/webhook_endpoints/{made['id']}"})


@api.route("GET", "/webhook_endpoints", access=WRITE, answer=schemas.WebhookEndpoints)
def list_webhook_endpoints(edge: Edge) -> Row:
    """List your webhook endpoints, oldest first."""
    return {"webhook_endpoints": edge.endpoints.all(g.caller)}


@api.route("GET", ONE, access=WRITE, answer=schemas.WebhookEndpoint, errors=(EndpointNotFound,))
def get_webhook_endpoint(edge: Edge, webhook_endpoint_id: str) -> Row:
    """Show a webhook endpoint."""
    return edge.endpoints.get(g.caller, webhook_endpoint_id)


@api.route(
    "PATCH",
    ONE,
    access=WRITE,
    body=schemas.WebhookEndpointChange,
    answer=schemas.WebhookEndpoint,
    errors=(EndpointNotFound,),
)
def change_webhook_endpoint(edge: Edge, webhook_endpoint_id: str, body: Row) -> Row:
    """Change a webhook endpoint, or disable and enable it.

    Events that happen while it is disabled are kept, and delivered once it is enabled.
    """
    return edge.endpoints.change(g.caller, webhook_endpoint_id, body)


@api.route("DELETE", ONE, access=WRITE, answer=schemas.DeletedWebhookEndpoint, errors=(EndpointNotFound,))
def delete_webhook_endpoint(edge: Edge, webhook_endpoint_id: str) -> Row:
    """Delete a webhook endpoint.

    Nothing more is delivered to it, also of what has happened already. To pause it, disable it.
    """
    edge.endpoints.delete(g.caller, webhook_endpoint_id)
    return {"id": webhook_endpoint_id, "deleted": True}


@api.route(
    "POST",
    f"{ONE}/rotate_secret",
    access=WRITE,
    answer=schemas.WebhookEndpointWithSecret,
    errors=(EndpointNotFound, TooManyRotations),
)
def rotate_webhook_secret(edge: Edge, webhook_endpoint_id: str) -> Row:
    """Make a new secret.

    The former secret signs as well for 24 hours, so that the receiver can change it without a gap.
    """
    return edge.endpoints.rotate_secret(g.caller, webhook_endpoint_id)


@api.route("POST", f"{ONE}/test", access=WRITE, answer=schemas.WebhookDelivery, status=202, errors=(EndpointNotFound,))
def test_webhook_endpoint(edge: Edge, webhook_endpoint_id: str) -> Row:
    """Deliver a test event, of the type `webhook.test`.

    The list of deliveries shows what the receiver answered.
    """
    return edge.endpoints.test(g.caller, webhook_endpoint_id)


@api.route(
    "GET",
    f"{ONE}/deliveries",
    access=WRITE,
    query=schemas.WebhookDeliveryQuery,
    answer=schemas.WebhookDeliveries,
    errors=(EndpointNotFound,),
)
def list_webhook_deliveries(edge: Edge, webhook_endpoint_id: str, query: dict[str, Any]) -> Row:
    """List what was delivered to an endpoint, and what is to be delivered, newest first.

    `next_cursor` is null at the end; otherwise send it as `cursor`, with the same filter, for the next page.
    """
    return edge.endpoints.deliveries(g.caller, webhook_endpoint_id, query)


@api.route(
    "POST",
    f"{ONE}/deliveries/<uuid:delivery_id>/resend",
    access=WRITE,
    answer=schemas.WebhookDelivery,
    status=202,
    errors=(DeliveryNotFound,),
)
def resend_webhook_delivery(edge: Edge, webhook_endpoint_id: str, delivery_id: str) -> Row:
    """Deliver an event once more, whether or not it was delivered before.

    The count of attempts starts again at zero. The receiver gets the same `webhook-id`.
    """
    return edge.endpoints.resend(g.caller, webhook_endpoint_id, delivery_id)


@api.route(
    "POST",
    f"{ONE}/resend",
    access=WRITE,
    body=schemas.ResendSince,
    answer=schemas.Resent,
    status=202,
    errors=(EndpointNotFound,),
)
def resend_webhook_deliveries(edge: Edge, webhook_endpoint_id: str, body: Row) -> Row:
    """Deliver once more what failed since a time, or everything since then.

    If there is more than one request may resend, `next_since` is the `since` of the next one.
    """
    return edge.endpoints.resend_since(g.caller, webhook_endpoint_id, body["since"], body["only_failed"])
