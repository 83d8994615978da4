"""The pages about webhooks: the endpoints of all clients, and the deliveries to one."""

from __future__ import annotations

from collections.abc import Callable

from flask import render_template, url_for
from werkzeug.wrappers import Response

from common.api.routes import load
from common.database.database import Row
from common.webhooks.deliveries import STATUSES
from console import endpoint_schemas as schemas
from console import endpoints, forms
from console.context import Console
from console.endpoints import Change
from console.pages import operator, page
from edge_api import webhook_schemas as edge

Answer = str | Response | tuple[str, int]


@page("GET", "/webhooks", role="viewer")
def webhook_list(console: Console) -> str:
    given, query, problems = forms.asked(schemas.EndpointQuery())
    nothing: Row = {"webhook_endpoints": [], "next_cursor": None}
    found = nothing if problems else endpoints.page(console.database, query)
    more = forms.more("webhook_list", found["next_cursor"], given)
    return render_template("webhooks.html", **found, given=given, problems=problems, more=more)


@page("GET", "/webhooks/<text:webhook_endpoint_id>", role="viewer")
def webhook_page(console: Console, webhook_endpoint_id: str) -> str:
    return render_template("webhook.html", **_values(console, webhook_endpoint_id), key=forms.new_key())


@page("POST", "/webhooks/<text:webhook_endpoint_id>/enable", role="operator")
def enable_webhook(console: Console, webhook_endpoint_id: str) -> Answer:
    return _set_status(
        console, webhook_endpoint_id, "enabled", "Enabled. It gets all events since it was disabled, oldest first."
    )


@page("POST", "/webhooks/<text:webhook_endpoint_id>/disable", role="operator")
def disable_webhook(console: Console, webhook_endpoint_id: str) -> Answer:
    return _set_status(
        console, webhook_endpoint_id, "disabled", "Disabled. Its events are kept until it is enabled again."
    )


@page("POST", "/webhooks/<text:webhook_endpoint_id>/test", role="operator")
def send_test_event(console: Console, webhook_endpoint_id: str) -> Answer:
    def work(change: Change) -> str:
        done = endpoints.send_test(console.database, change)
        return forms.outcome(done, f"The test event {done.result['event_id']} was queued.")

    return _act(console, webhook_endpoint_id, work)


@page("POST", "/webhooks/<text:webhook_endpoint_id>/deliveries/<uuid:delivery_id>/resend", role="operator")
def resend_one(console: Console, webhook_endpoint_id: str, delivery_id: str) -> Answer:
    def work(change: Change) -> str:
        done = endpoints.resend(console.database, change, delivery_id)
        return forms.outcome(done, f"{done.result['event_id']} was queued to be delivered again.")

    return _act(console, webhook_endpoint_id, work)


@page("POST", "/webhooks/<text:webhook_endpoint_id>/resend", role="operator")
def resend_failed(console: Console, webhook_endpoint_id: str) -> Answer:
    def work(change: Change) -> str:
        since = load(edge.ResendSince(), {"since": forms.text("since")})["since"]
        done = endpoints.resend_since(console.endpoints, change, since, only_failed=True)
        resent = done.result["resent"]
        number = "1 delivery was" if resent == 1 else f"{resent:,} deliveries were"
        rest = f" There is more: go on from {done.result['next_since']}." if done.result["next_since"] else ""
        return forms.outcome(done, f"{number} queued to be delivered again.{rest}")

    return _act(console, webhook_endpoint_id, work)


def _set_status(console: Console, id_: str, status: str, notice: str) -> Answer:
    def work(change: Change) -> str:
        wanted = load(schemas.EndpointStatus(), {"status": status, "reason": forms.text("reason")})
        return forms.outcome(endpoints.set_status(console.database, change, status, wanted["reason"]), notice)

    return _act(console, id_, work)


def _act(console: Console, id_: str, work: Callable[[Change], str]) -> Answer:
    """Change an endpoint, and tell it on its page."""
    endpoint = endpoints.read(console.database, id_)

    def changed() -> str:
        return work(Change(operator().name, forms.key(), endpoint))

    then = url_for(".webhook_page", webhook_endpoint_id=id_)
    return forms.answer(console, changed, then, "webhook.html", lambda: _values(console, id_))


def _values(console: Console, id_: str) -> Row:
    """What the page of an endpoint shows. :raises EndpointNotFound:"""
    endpoint = endpoints.read(console.database, id_)
    given, query, problems = forms.asked(edge.WebhookDeliveryQuery())
    found = console.endpoints.deliveries(endpoint["client"], id_, query)
    older = forms.more("webhook_page", found["next_cursor"], {} if problems else given, webhook_endpoint_id=id_)
    return {
        "endpoint": endpoint,
        "deliveries": found["deliveries"],
        "older": older,
        "given": given,
        "problems": problems,
        "statuses": STATUSES,
    }
