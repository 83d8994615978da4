"""The routes of the payments service: load → operation → dump. Calls that move money ask the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from common.api.access import Signed, callers
from common.api.errors import (
    IdempotencyKeyReused,
    InvalidStatusTransition,
    NotFound,
    RequestInProgress,
    Unauthorized,
)
from common.api.idempotency import StoredResponse
from common.api.routes import Api, PathId
from common.database.database import Database
from payments_service import operations, reconciliation_schemas, schemas
from payments_service.books import AUTHORIZATION_ID, Body
from payments_service.changes import Changes, Messages, NoChanges
from payments_service.errors import (
    AlreadyCaptured,
    AlreadyVoided,
    AuthorizationNotFound,
    GatewayError,
    PaymentDeclined,
    RefundDeclined,
)
from payments_service.gateways.seam import InvalidMessage
from payments_service.reconciliation import Statements


class AuthorizationId(PathId):
    regex = r"(?!(?:authorize|void|changes)$)[^/]+"  # these are separate routes, without GET
    pattern = f"^{AUTHORIZATION_ID.pattern}$"


api = Api(
    "Payments service",
    "A simulated payment gateway. Its books are tables: every cent can be audited, any worker can answer.",
    ids={"authorization": AuthorizationId},
)
# Left out in production.
OF_SIMULATION = "settle_refunds"
# Left out if the gateway sends nothing.
OF_GATEWAY = "take_stripe_message"
# The key of these calls is in the body.
ANY_TIME = (GatewayError, IdempotencyKeyReused, RequestInProgress)


class Payments(Protocol):
    """The operations that move money, with one of the gateways."""

    def authorize(self, body: Body, sent: Body) -> StoredResponse: ...
    def capture(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse: ...
    def void(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse: ...
    def void_by_key(self, body: Body, sent: Body) -> StoredResponse: ...
    def refund(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse: ...


@dataclass(frozen=True)
class Context:
    database: Database
    payments: Payments
    statements: Statements
    changes: Changes = field(default_factory=NoChanges)
    messages: Messages | None = None


@api.route(
    "POST",
    "/payments/authorize",
    access=callers("edge_api"),
    body=schemas.AuthorizeRequest,
    sent=True,
    answer=schemas.Authorization,
    leads_to={"authorization_id": "authorization_id"},
    errors=(PaymentDeclined, AlreadyVoided, *ANY_TIME),
)
def authorize(context: Context, body: dict[str, Any], sent: dict[str, Any]) -> StoredResponse:
    """Hold money on a card.

    The token decides. One that contains `decline_insufficient`, `decline_expired`, `decline_stolen` or any other
    `decline_` is declined. `fail_capture` authorizes, and then refuses every capture, `fail_refund` every refund. With
    `pending_refund` each refund is pending until it is settled. Tokens are not stored.
    """
    return context.payments.authorize(body, sent)


@api.route(
    "POST",
    "/payments/capture/<authorization:authorization_id>",
    access=callers("orchestrator"),
    body=schemas.CaptureRequest,
    sent=True,
    answer=schemas.Capture,
    errors=(PaymentDeclined, AuthorizationNotFound, AlreadyVoided, AlreadyCaptured, *ANY_TIME),
)
def capture(context: Context, authorization_id: str, body: dict[str, Any], sent: dict[str, Any]) -> StoredResponse:
    """Capture a hold.

    Possible once for each authorization. Without `amount_cents` it captures all. The rest is no longer held.
    """
    return context.payments.capture(authorization_id, body, sent)


@api.route(
    "POST",
    "/payments/void/<authorization:authorization_id>",
    access=callers("orchestrator"),
    body=schemas.VoidRequest,
    sent=True,
    answer=schemas.Void,
    errors=(AuthorizationNotFound, AlreadyCaptured, *ANY_TIME),
)
def void(context: Context, authorization_id: str, body: dict[str, Any], sent: dict[str, Any]) -> StoredResponse:
    """Void a hold.

    Repeating the call, even with another key, returns the same answer. An unknown id is refused and remembered.
    """
    return context.payments.void(authorization_id, body, sent)


@api.route(
    "POST",
    "/payments/void",
    access=callers("orchestrator"),
    body=schemas.VoidByKeyRequest,
    sent=True,
    answer=schemas.VoidByKey,
    errors=(AlreadyCaptured, *ANY_TIME),
)
def void_by_key(context: Context, body: dict[str, Any], sent: dict[str, Any]) -> StoredResponse:
    """Void by the key of an authorize call whose answer never arrived.

    `authorization_key` is the `idempotency_key` of that call. If the call arrives later, it is refused with
    `already_voided`. `authorization_id` is null if nothing is held, or if the card was declined.
    """
    return context.payments.void_by_key(body, sent)


@api.route(
    "POST",
    "/payments/refund/<authorization:authorization_id>",
    access=callers("orchestrator"),
    body=schemas.RefundRequest,
    sent=True,
    answer=schemas.Refund,
    errors=(RefundDeclined, AuthorizationNotFound, AlreadyVoided, InvalidStatusTransition, *ANY_TIME),
)
def refund(context: Context, authorization_id: str, body: dict[str, Any], sent: dict[str, Any]) -> StoredResponse:
    """Refund captured money.

    Without `amount_cents` it refunds all that is left. A payment may be refunded in parts, each with its own key.
    A gateway may need days: the refund is then `PENDING`, and the same call returns it as `REFUNDED` later.
    """
    return context.payments.refund(authorization_id, body, sent)


@api.route(
    "POST",
    "/payments/changes",
    access=callers("orchestrator"),
    body=schemas.ChangesRequest,
    answer=schemas.Changes,
)
def changes(context: Context, body: dict[str, Any]) -> dict[str, Any]:
    """Tell what the gateway has changed by itself.

    `failed_refunds` had succeeded. They are told until their `refund_id` is in `noted`. `decided_refunds` were pending,
    and their call may have a new answer. `ending_holds` end within a day. `has_more`: the same call tells more now. The
    simulated gateway changes nothing.
    """
    return context.changes.since(body["noted"])


@api.route("POST", "/payments/webhooks/stripe", access=Signed("Stripe-Signature"), answer=schemas.MessageTaken)
def take_stripe_message(context: Context, raw: bytes, signature: str) -> dict[str, Any]:
    """Take a message from Stripe as a hint.

    It can be lost, late or doubled: Stripe is asked before anything changes.
    """
    if context.messages is None:
        raise NotFound()
    try:
        return {"is_a_hint": context.messages.take(raw, signature)}
    except InvalidMessage:
        raise Unauthorized("The signature does not fit the body and STRIPE_WEBHOOK_SECRET.") from None


@api.route("POST", "/payments/simulate/settle_refunds", access=callers(), answer=schemas.Settled)
def settle_refunds(context: Context) -> dict[str, Any]:
    """Settle every pending refund, as the gateway does by itself after some days.

    Only the simulated gateway has this call, and not in production.
    """
    return operations.settle_refunds(context.database)


@api.route(
    "GET",
    "/payments/<authorization:authorization_id>",
    access=callers(),
    answer=schemas.Payment,
    errors=(AuthorizationNotFound,),
)
def show(context: Context, authorization_id: str) -> dict[str, Any]:
    """A payment's state and every movement of its money."""
    return operations.show(context.database, authorization_id)


@api.route(
    "GET",
    "/payments/gateway/payments",
    access=callers(),
    query=reconciliation_schemas.SpanQuery,
    answer=reconciliation_schemas.GatewayPayments,
    errors=(GatewayError,),
)
def payments_at_gateway(context: Context, query: dict[str, Any]) -> dict[str, Any]:
    """The payments that were made at the gateway in a span, by its clock and in its order.

    The simulated gateway has no books of its own: its list is empty.
    """
    return context.statements.payments(query)


@api.route(
    "GET",
    "/payments/gateway/refunds",
    access=callers(),
    query=reconciliation_schemas.SpanQuery,
    answer=reconciliation_schemas.GatewayRefunds,
    errors=(GatewayError,),
)
def refunds_at_gateway(context: Context, query: dict[str, Any]) -> dict[str, Any]:
    """The refunds that were made at the gateway in a span, of whatever payment."""
    return context.statements.refunds(query)


@api.route(
    "GET",
    "/payments/gateway/payment",
    access=callers(),
    query=reconciliation_schemas.PaymentQuery,
    answer=reconciliation_schemas.PaymentAtGateway,
    errors=(GatewayError,),
)
def payment_at_gateway(context: Context, query: dict[str, Any]) -> dict[str, Any]:
    """What the gateway says of one payment and its refunds. `payment` is null if it does not know it."""
    return context.statements.look(query["gateway_id"])
