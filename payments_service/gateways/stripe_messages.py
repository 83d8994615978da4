"""Stripe's webhooks: what they are about, once their signature is verified."""

from __future__ import annotations

import stripe

from payments_service.gateways.seam import Hint, InvalidMessage

ABOUT_REFUNDS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}


class Messages:
    def __init__(self, secret: str) -> None:
        """:param secret: of the endpoint, `whsec_…`"""
        self._secret = secret

    def read(self, body: bytes, signature: str) -> Hint | None:
        try:
            event = stripe.Webhook.construct_event(body, signature, self._secret).to_dict()
            about = event["data"]["object"]
            if event["type"] not in ABOUT_REFUNDS:
                return None
            return Hint(str(about["id"]), str((about.get("metadata") or {}).get("holdfast_refund", "")))
        except Exception as error:  # the library raises many kinds for what it cannot read
            raise InvalidMessage(type(error).__name__) from None
