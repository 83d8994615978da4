"""What Stripe's lists say, in the words of the seam."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from payments_service.gateways.seam import Span

PAGE = 100  # the most that Stripe returns
STATES = {"requires_capture": "held", "succeeded": "captured", "canceled": "ended"}
"""In every other state a PaymentIntent holds nothing, and may hold something later."""
REFUND_STATES = {"succeeded": "returned", "failed": "failed", "canceled": "failed"}
"""In every other state the money may be returned later."""


def params(span: Span) -> dict[str, Any]:
    """The newest first, by Stripe's clock in whole seconds."""
    created = {"gte": math.floor(span.start.timestamp()), "lt": math.ceil(span.end.timestamp())}
    return {"limit": PAGE, "created": created, **({"starting_after": span.after} if span.after else {})}


def payment(intent: dict[str, Any]) -> dict[str, Any]:
    """:raises KeyError, TypeError: it is not a PaymentIntent"""
    return {
        "gateway_id": intent["id"],
        "authorization_id": (intent.get("metadata") or {}).get("holdfast_authorization"),
        "state": STATES.get(intent["status"], "open"),
        "held_cents": intent["amount_capturable"],
        "captured_cents": intent["amount_received"],
        **_common(intent),
    }


def refund(refund: dict[str, Any]) -> dict[str, Any]:
    """:raises KeyError, TypeError: it is not a refund"""
    return {
        "gateway_id": refund["id"],
        "payment_gateway_id": refund.get("payment_intent"),
        "refund_id": (refund.get("metadata") or {}).get("holdfast_refund"),
        "state": REFUND_STATES.get(refund["status"], "pending"),
        "amount_cents": refund["amount"],
        **_common(refund),
    }


def _common(thing: dict[str, Any]) -> dict[str, Any]:
    return {"currency": thing["currency"].upper(), "created_at": datetime.fromtimestamp(thing["created"], UTC)}
