"""API keys: `hf_<id>_<secret>`. A key is found by its id, and its secret is stored as a SHA-256 hash only."""

from __future__ import annotations

import hashlib
import re
import secrets
import string

SCOPES = ("orders:read", "orders:write", "refunds:write", "products:read", "products:write", "webhooks:write")
CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY = re.compile(r"hf_([0-9a-z]{16})_([0-9A-Za-z]{43})", re.ASCII)
ID_CHARACTERS = string.ascii_lowercase + string.digits
SECRET_CHARACTERS = string.ascii_letters + string.digits  # 43 of them are 256 bits


def new_id() -> str:
    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(16))


def new_secret() -> str:
    return "".join(secrets.choice(SECRET_CHARACTERS) for _ in range(43))


def as_text(id_: str, secret: str) -> str:
    return f"hf_{id_}_{secret}"


def parts(text: str) -> tuple[str, str] | None:
    """A key's id and its secret. None: the text is not a key."""
    found = KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest(secret: str) -> bytes:
    """A fast hash is enough: a secret of 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode()).digest()
