"""Verify a webhook: that Holdfast sent it, and recently (Standard Webhooks, https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast_client.errors import InvalidWebhook

Text = str | bytes
TOLERANCE_S = 300
SECRET_PREFIX = "whsec_"
SHORTEST_KEY = 24  # bytes; Holdfast makes keys of 32
SCHEME = "v1,"


def verify_webhook(
    headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
    body: Text,
    secrets: Text | Iterable[Text],
    *,
    tolerance: float = TOLERANCE_S,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Return the event in a webhook, if one of the secrets signed it.

    Take `webhook-id` of the headers as the event's id: a receiver gets some events more than once.

    :param headers: of the request, in any spelling of upper and lower case
    :param body: exactly as it was received, before anything parsed it
    :param secrets: the secret of the endpoint (`whsec_…`), or several while it is being rotated
    :param tolerance: seconds that the time of the request may differ from this machine's
    :raises InvalidWebhook: anything else, whatever arrives. Answer 400, and do not use the body
    """
    try:
        return _verified(_fields(headers), _bytes(body), _keys(secrets), tolerance, now())
    except InvalidWebhook:
        raise
    except Exception as error:  # anybody can send anything to a public address
        raise InvalidWebhook(f"The webhook cannot be read: {type(error).__name__}.") from error


def _verified(
    fields: Mapping[str, str], body: bytes, keys: list[bytes], tolerance: float, now: float
) -> dict[str, Any]:
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if not fields.get(name)]
    if missing:
        raise InvalidWebhook(f"The request has no header {missing[0]}.")
    timestamp = fields["webhook-timestamp"]
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise InvalidWebhook("The header webhook-timestamp is not a number of seconds.")
    content = f"{fields['webhook-id']}.{timestamp}.".encode() + body
    expected = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()) for key in keys]
    signatures = [
        each.removeprefix(SCHEME).encode() for each in fields["webhook-signature"].split() if each.startswith(SCHEME)
    ]
    if not any(hmac.compare_digest(known, given) for known in expected for given in signatures):
        raise InvalidWebhook("No signature of the request was made with one of the secrets.")
    if not abs(now - int(timestamp)) <= tolerance:
        raise InvalidWebhook(f"The request was signed more than {tolerance:g} s ago, or one of the clocks is wrong.")
    event = json.loads(body.decode())
    if not isinstance(event, dict):
        raise InvalidWebhook("The body is not an event.")
    return event


def _fields(headers: Any) -> dict[str, str]:
    pairs = headers.items() if hasattr(headers, "items") else headers
    return {_text(name).lower(): _text(value) for name, value in pairs}


def _keys(secrets: Any) -> list[bytes]:
    each = [secrets] if isinstance(secrets, str | bytes) else list(secrets)
    keys = [base64.b64decode(_text(secret).strip().removeprefix(SECRET_PREFIX), validate=True) for secret in each]
    if not keys or any(len(key) < SHORTEST_KEY for key in keys):
        raise InvalidWebhook("A secret is missing, or is not the whole secret of a webhook endpoint.")
    return keys


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise InvalidWebhook(f"A header or a secret is not text: {type(value).__name__}.")
    return value


def _bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    if not isinstance(body, bytes | bytearray | memoryview):
        raise InvalidWebhook(f"The body is neither bytes nor text, but {type(body).__name__}. Pass it unparsed.")
    return bytes(body)
