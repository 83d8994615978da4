"""Stripe's webhooks: what they are about, once their signature is verified."""

from __future__ import annotations

import re
from typing import Any

import stripe

from payments_service.gateways.seam import Hint, InvalidMessage

ABOUT_REFUNDS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}
ID = re.compile(r"[0-9A-Za-z_]{1,255}")


class Inbox:
    def __init__(self, secret: str) -> None:
        """:param secret: of the endpoint, `whsec_…`"""
        self._secret = secret

    def read(self, body: bytes, signature: str) -> Hint | None:
        try:
            event = stripe.Webhook.construct_event(body, signature, self._secret).to_dict()
            about = event["data"]["object"]
            if event["type"] not in ABOUT_REFUNDS:
                return None
            return Hint(_id(about["id"]), _id((about.get("metadata") or {}).get("holdfast_refund", "")))
        except Exception as error:  # the library raises many kinds for what it cannot read
            raise InvalidMessage(type(error).__name__) from None


def _id(value: Any) -> str:
    """The id, or nothing in the place of what is none."""
    return value if isinstance(value, str) and ID.fullmatch(value) else ""
