"""The library of Standard Webhooks, as a second opinion on our signatures and on `verify_webhook`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from common.webhooks.secrets import new_secret, signature
from holdfast_client import verify_webhook

BODY = '{"type": "order.completed", "data": {"reference": "Ünal"}}'
EVENT = {"type": "order.completed", "data": {"reference": "Ünal"}}


def headers(signed: str, at: datetime) -> dict[str, str]:
    return {"webhook-id": "evt_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signed}


def test_library_accepts_our_signature():
    secret, now = new_secret(), datetime.now(UTC)
    signed = signature([new_secret(), secret], "evt_1", int(now.timestamp()), BODY.encode())
    assert Webhook(secret).verify(BODY, headers(signed, now)) == EVENT
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers(signed, now))


def test_we_accept_the_librarys_signature():
    secret, now = new_secret(), datetime.now(UTC)
    assert verify_webhook(headers(Webhook(secret).sign("evt_1", now, BODY), now), BODY, secret) == EVENT
