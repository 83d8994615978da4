"""The span of a delivery: each attempt has a trace of its own, because days may lie between an order and a delivery."""

from __future__ import annotations

from common.tracing import tracer
from common.tracing.tracer import Kind, Value
from webhooks.delivery import Answer, Delivery, Outcome, is_success
from webhooks.sending import Sender


def attempt(sender: Sender, delivery: Delivery) -> Outcome:
    """Send the delivery once. The span names its endpoint, and not the address, which may hold a secret."""
    attributes: dict[str, Value] = {
        "http.request.method": "POST",
        "holdfast.webhook_endpoint_id": delivery.endpoint_id,
        "holdfast.event_id": delivery.message_id,
        "holdfast.attempt": delivery.attempts + 1,
    }
    if delivery.order_ledger_id:
        attributes["holdfast.order_ledger_id"] = delivery.order_ledger_id
    with tracer.trace("webhook delivery", Kind.CLIENT, attributes, links=[delivery.trace_parent]) as span:
        outcome = sender.post(delivery.url, delivery.headers, delivery.body)
        if isinstance(outcome, Answer):
            span.set("http.response.status_code", outcome.status)
        if not is_success(outcome):
            span.fail(str(outcome.status) if isinstance(outcome, Answer) else "no_answer")
        return outcome
