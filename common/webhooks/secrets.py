"""Ids, secrets and signatures of webhooks, as Standard Webhooks 1.0 has them (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
ID_CHARACTERS = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """`we_` and 24 letters or digits, for the prefix `we_`."""
    return prefix + "".join(secrets.choice(ID_CHARACTERS) for _ in range(24))


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(valid_secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret, separated by blanks.

    :param timestamp: in seconds since 1970, as in `webhook-timestamp`
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_hmac(secret, content)}" for secret in valid_secrets)


def _hmac(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
