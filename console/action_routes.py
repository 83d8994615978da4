"""The API's actions on one order or refund."""

from __future__ import annotations

from typing import Any

from flask import g

from common.api import errors
from common.api.idempotency import StoredResponse
from common.api.routes import Api, Reply
from common.database.database import Row
from console import action_schemas, actions, orders, schemas
from console.access import OPERATOR
from console.actions import Act
from console.context import Console
from console.errors import NeedsNoAttention, NoSuchRefund, NotDueNow
from console.orders import NoSuchOrder
from console.verbs import Subject
from edge_api import refund_schemas, refund_store
from edge_api.errors import OrderNotCancellable, OrderNotRefundable, RefundExceedsRemaining

api = Api("Actions", "A part of the console's API.")


@api.route(
    "POST",
    "/api/orders/<uuid:order_ledger_id>/retry",
    access=OPERATOR,
    body=action_schemas.Why,
    answer=schemas.OrderDetails,
    idempotency_key=True,
    errors=(NoSuchOrder, NotDueNow, errors.RequestExpired),
)
def retry_order(console: Console, order_ledger_id: str, idempotency_key: str, body: Row) -> StoredResponse | Reply:
    """Try the order's next step now, instead of waiting for its next retry."""
    done = actions.retry(console, _act(idempotency_key), actions.order(console, order_ledger_id), body["reason"])
    return _order(console, order_ledger_id, done)


@api.route(
    "POST",
    "/api/orders/<uuid:order_ledger_id>/cancel",
    access=OPERATOR,
    body=action_schemas.CancelOrder,
    answer=schemas.OrderDetails,
    idempotency_key=True,
    errors=(NoSuchOrder, OrderNotCancellable, errors.RequestExpired),
)
def cancel_order(console: Console, order_ledger_id: str, idempotency_key: str, body: Row) -> StoredResponse | Reply:
    """Ask for the end of an order that is not completed. Nothing stays charged, held or reserved."""
    done = actions.cancel(console, _act(idempotency_key), actions.order(console, order_ledger_id), body)
    return _order(console, order_ledger_id, done)


@api.route(
    "POST",
    "/api/orders/<uuid:order_ledger_id>/refunds",
    access=OPERATOR,
    query=refund_schemas.RefundOptions,
    body=refund_schemas.NewRefund,
    answer=refund_schemas.Refund,
    status=(202, 200),
    idempotency_key=True,
    leads_to={"refund_id": "refund_id"},
    errors=(NoSuchOrder, OrderNotRefundable, RefundExceedsRemaining, errors.RequestExpired),
)
def refund_order(
    console: Console, order_ledger_id: str, idempotency_key: str, query: Row, body: Row
) -> StoredResponse | Reply:
    """Refund a completed order: all that is left of it, an amount, or some of its pieces.

    `?dry_run=true` answers 200 with what would be refunded, and does nothing.
    """
    subject = actions.order(console, order_ledger_id)
    if query["dry_run"]:
        return actions.would_refund(console, subject, body)
    return actions.refund(console, _act(idempotency_key), subject, body)


@api.route(
    "POST",
    "/api/orders/<uuid:order_ledger_id>/notes",
    access=OPERATOR,
    body=action_schemas.NewNote,
    answer=schemas.OrderDetails,
    idempotency_key=True,
    errors=(NoSuchOrder, errors.RequestExpired),
)
def add_note(console: Console, order_ledger_id: str, idempotency_key: str, body: Row) -> StoredResponse | Reply:
    """Write a note on an order, for other operators."""
    done = actions.add_note(console, _act(idempotency_key), actions.order(console, order_ledger_id), body["text"])
    return _order(console, order_ledger_id, done)


@api.route(
    "POST",
    "/api/orders/<uuid:order_ledger_id>/dealt-with",
    access=OPERATOR,
    body=action_schemas.Why,
    answer=schemas.OrderDetails,
    idempotency_key=True,
    errors=(NoSuchOrder, NeedsNoAttention, errors.RequestExpired),
)
def deal_with_order(console: Console, order_ledger_id: str, idempotency_key: str, body: Row) -> StoredResponse | Reply:
    """Hide the mark of an order that needs attention, until it fails again. One that has ended loses it."""
    done = actions.deal_with(console, _act(idempotency_key), actions.order(console, order_ledger_id), body["reason"])
    return _order(console, order_ledger_id, done)


@api.route(
    "POST",
    "/api/refunds/<uuid:refund_id>/retry",
    access=OPERATOR,
    body=action_schemas.Why,
    answer=refund_schemas.Refund,
    idempotency_key=True,
    errors=(NoSuchRefund, NotDueNow, errors.RequestExpired),
)
def retry_refund(console: Console, refund_id: str, idempotency_key: str, body: Row) -> StoredResponse | Reply:
    """Try the refund's next step now."""
    subject = actions.refund_of(console, refund_id)
    return _refund(console, subject, actions.retry(console, _act(idempotency_key), subject, body["reason"]))


@api.route(
    "POST",
    "/api/refunds/<uuid:refund_id>/dealt-with",
    access=OPERATOR,
    body=action_schemas.Why,
    answer=refund_schemas.Refund,
    idempotency_key=True,
    errors=(NoSuchRefund, NeedsNoAttention, errors.RequestExpired),
)
def deal_with_refund(console: Console, refund_id: str, idempotency_key: str, body: Row) -> StoredResponse | Reply:
    """Hide the mark of a refund that needs attention, until it fails again. One that has ended loses it."""
    subject = actions.refund_of(console, refund_id)
    return _refund(console, subject, actions.deal_with(console, _act(idempotency_key), subject, body["reason"]))


def _act(key: str) -> Act:
    return Act(g.caller, key)


def _order(console: Console, order_ledger_id: str, done: StoredResponse) -> StoredResponse | Reply:
    return done if done.status >= 400 else _reply(orders.read(console.database, order_ledger_id), done)


def _refund(console: Console, subject: Subject, done: StoredResponse) -> StoredResponse | Reply:
    return done if done.status >= 400 else _reply(refund_store.get(console.database, subject.client, subject.id), done)


def _reply(data: Any, done: StoredResponse) -> Reply:
    return Reply(data, 200, {"Idempotency-Replayed": "true"} if done.replayed else {})
