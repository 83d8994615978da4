"""Stripe's webhooks: what they are about, once their signature is verified."""

from __future__ import annotations

import json
import re
from typing import Any

import stripe

from payments_service.gateways.seam import Hint, InvalidMessage

ABOUT_REFUNDS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}
ID = re.compile(r"[0-9A-Za-z_]{1,255}")
TOLERANCE_S = 300  # as Stripe's library has it


class Inbox:
    def __init__(self, secret: str) -> None:
        """:param secret: of the endpoint, `whsec_…`"""
        self._secret = secret

    def read(self, body: bytes, signature: str) -> Hint | None:
        try:
            stripe.WebhookSignature.verify_header(body.decode(), signature, self._secret, TOLERANCE_S)
        except Exception as error:  # the library raises more kinds than its own, for a header of another form
            raise InvalidMessage(type(error).__name__) from None
        try:
            event = json.loads(body)
            about = event["data"]["object"]
            if event["type"] not in ABOUT_REFUNDS:
                return None
            return Hint(_id(about["id"]), _id((about.get("metadata") or {}).get("holdfast_refund", "")))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            return None  # of a form that we do not know. Sent again, it would be the same


def _id(value: Any) -> str:
    """The id. Empty: the value is not an id."""
    return value if isinstance(value, str) and ID.fullmatch(value) else ""
