"""What the forms of an order's page do. Each returns to the page, which tells what was done."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import render_template, request, url_for
from marshmallow import Schema
from werkzeug.wrappers import Response

from common.api.errors import ApiError, ValidationFailed
from common.api.idempotency import StoredResponse
from common.api.routes import load
from common.database.database import Row
from console import action_schemas, actions, effects, forms, orders
from console.action_forms import refund_body
from console.actions import Act
from console.context import Console
from console.formats import money, problems
from console.order_pages import shown
from console.pages import operator, page
from console.verbs import Subject
from edge_api.errors import RefundExceedsRemaining
from edge_api.refund_schemas import NewRefund

Answer = Response | tuple[str, int]
WithReason = Callable[[Console, Act, Subject, str], StoredResponse]


class Refused(ApiError):
    """The action was refused before."""

    status, code = 409, "refused"


@page("POST", "/orders/<uuid:order_ledger_id>/retry", role="operator")
def retry_order_form(console: Console, order_ledger_id: str) -> Answer:
    return _retry(console, actions.order(console, order_ledger_id))


@page("POST", "/refunds/<uuid:refund_id>/retry", role="operator")
def retry_refund_form(console: Console, refund_id: str) -> Answer:
    return _retry(console, actions.refund_of(console, refund_id))


def _retry(console: Console, subject: Subject) -> Answer:
    return _act_with_reason(console, subject, "retry", actions.retry, "was made due")


@page("POST", "/orders/<uuid:order_ledger_id>/cancel", role="operator")
def cancel_order_form(console: Console, order_ledger_id: str) -> Answer:
    subject = actions.order(console, order_ledger_id)

    def work() -> str:
        wish = _loaded(action_schemas.CancelOrder(), "reason", "note")
        done = actions.cancel(console, _act("cancel", subject), subject, wish)
        return _outcome(done, "The cancellation was asked for. It takes effect at the order's next step.")

    return _answer(console, subject, work)


@page("POST", "/orders/<uuid:order_ledger_id>/refunds", role="operator")
def refund_order_form(console: Console, order_ledger_id: str) -> Answer:
    subject = actions.order(console, order_ledger_id)

    def work() -> str:
        order = orders.read(console.database, order_ledger_id)
        currency = order["currency"]
        wanted = load(NewRefund(), refund_body(request.form, currency))
        try:
            done = actions.refund(console, _act("refund", subject), subject, wanted)
        except RefundExceedsRemaining as refusal:
            raise RefundExceedsRemaining(effects.too_much(order, refusal.details), **refusal.details) from None
        amount = money(json.loads(done.body).get("amount_cents"), currency)
        return _outcome(done, f"A refund of {amount} was asked for.")

    return _answer(console, subject, work)


@page("GET", "/orders/<uuid:order_ledger_id>/refund-effect", role="operator")
def refund_effect(console: Console, order_ledger_id: str) -> str:
    """What the refund would do that the form asks for, or why it is not possible."""
    order = orders.read(console.database, order_ledger_id)
    subject = Subject(order["client"], order_ledger_id)
    try:
        wanted = load(NewRefund(), refund_body({"reason": "other", **request.args}, order["currency"]))
        share = actions.would_refund(console, subject, wanted).data
    except ValidationFailed as refusal:
        return render_template("refund_effect.html", problem=" ".join(problems(refusal.details)))
    except RefundExceedsRemaining as refusal:
        return render_template("refund_effect.html", problem=effects.too_much(order, refusal.details))
    except ApiError as refusal:
        return render_template("refund_effect.html", problem=refusal.message)
    pieces = sum(item["quantity"] for item in share["items"])
    effect = effects.refund(order, share["amount_cents"], pieces, restock=share["restock"])
    return render_template("refund_effect.html", effect=effect)


@page("POST", "/orders/<uuid:order_ledger_id>/notes", role="operator")
def add_note_form(console: Console, order_ledger_id: str) -> Answer:
    subject = actions.order(console, order_ledger_id)

    def work() -> str:
        text = " ".join(request.form.get("text", "").split())
        note = load(action_schemas.NewNote(), {"text": text})
        done = actions.add_note(console, _act("note", subject), subject, note["text"])
        return _outcome(done, "The note is in the timeline.")

    return _answer(console, subject, work)


@page("POST", "/orders/<uuid:order_ledger_id>/dealt-with", role="operator")
def deal_with_order_form(console: Console, order_ledger_id: str) -> Answer:
    return _deal_with(console, actions.order(console, order_ledger_id))


@page("POST", "/refunds/<uuid:refund_id>/dealt-with", role="operator")
def deal_with_refund_form(console: Console, refund_id: str) -> Answer:
    return _deal_with(console, actions.refund_of(console, refund_id))


def _deal_with(console: Console, subject: Subject) -> Answer:
    return _act_with_reason(console, subject, "dealt_with", actions.deal_with, "was marked as dealt with")


def _act_with_reason(console: Console, subject: Subject, name: str, action: WithReason, state: str) -> Answer:
    """:param state: what the page tells of the order or refund after the action"""

    def work() -> str:
        reason = _loaded(action_schemas.Why(), "reason")["reason"]
        done = action(console, _act(name, subject), subject, reason)
        return _outcome(done, f"The {subject.kind} {state}.")

    return _answer(console, subject, work)


def _loaded(schema: Schema, *names: str) -> Row:
    loaded: Row = load(schema, forms.filled(request.form, *names))
    return loaded


def _act(action: str, subject: Subject) -> Act:
    return Act(operator().name, f"{forms.key()}:{action}:{subject.id}")


def _answer(console: Console, subject: Subject, work: Callable[[], str]) -> Answer:
    """Act, and tell it on the order's page, or why it was refused."""
    id_ = subject.order_ledger_id
    return forms.answer(
        console, work, url_for(".order_page", order_ledger_id=id_), "order.html", lambda: shown(console, id_)
    )


def _outcome(done: StoredResponse, notice: str) -> str:
    """:raises Refused: with what a stored refusal says"""
    if done.status >= 400:
        body = json.loads(done.body)
        raise Refused(body["message"], **body.get("details", {}))
    return forms.told(notice, is_repeat=done.replayed)
