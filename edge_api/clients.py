"""Authentication of clients by their API keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from common.api.access import Access, Guard, Scope
from common.api.errors import Forbidden, Unauthorized

ANONYMOUS = "anonymous"
"""The only client of a system without API keys."""


def authenticate(authorization: str | None, keys: Mapping[str, tuple[str, bool]], *, to_write: bool) -> str:
    """The name of the client that sent this Authorization header.

    :param keys: SHA-256 (hexadecimal) of a key → (client's name, whether it may write)
    :raises Unauthorized: the key is missing or unknown
    :raises Forbidden: the key may only read
    """
    if not keys:
        return ANONYMOUS
    scheme, _, secret = (authorization or "").partition(" ")
    offered = hashlib.sha256(secret.strip().encode()).hexdigest()
    known = [client for digest, client in keys.items() if hmac.compare_digest(digest, offered)]
    if scheme.lower() != "bearer" or not known:
        raise Unauthorized()
    name, may_write = known[0]
    if to_write and not may_write:
        raise Forbidden()
    return name


def guard_of(keys: Mapping[str, tuple[str, bool]]) -> Guard:
    """Make the guard of this service's routes."""

    def guard(authorization: str | None, access: Access) -> str:
        assert isinstance(access, Scope)
        return authenticate(authorization, keys, to_write=access.name.endswith(":write"))

    return guard
