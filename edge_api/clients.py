"""The Edge API's guard: which client calls, by its API key, and whether the key has the scope that the route needs."""

from __future__ import annotations

import hmac
from contextlib import suppress
from dataclasses import dataclass, field

from flask import g

from common.api.access import Access, Scope
from common.api.errors import Forbidden, Unauthorized
from common.api.guards import bearer
from common.credentials import client_keys
from common.database.clock import elapsed
from common.database.database import Database, Row
from common.database.errors import TransientDatabaseError

REMEMBER_S = 30.0  # a revoked key must stop within 60 s everywhere
REMEMBER_UNKNOWN_S = 5.0
MAX_REMEMBERED = 10_000
NOBODY = client_keys.digest("")

FIND = """
SELECT client, secret_sha256, scopes, extract(epoch FROM expires_at - now())::float AS seconds_left FROM client_keys
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
# At most once a minute: a key can be used hundreds of times a second. A request does not wait for a lock on the row.
NOTE_USE = """
UPDATE client_keys SET last_used_at = now() WHERE id IN (
  SELECT id FROM client_keys
  WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
  FOR NO KEY UPDATE SKIP LOCKED)
"""


@dataclass
class _Key:
    """What is known of an id. Without a client: it is unknown, revoked or expired."""

    until: float
    client: str = ""
    secret_sha256: bytes = NOBODY
    scopes: frozenset[str] = field(default_factory=frozenset)
    use_is_noted: bool = False


UNKNOWN = _Key(0)


class Clients:
    """Thread-safe. A key is read once and remembered for half a minute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, _Key] = {}
        # Apart from the keys: whoever invents ids must not drive out those that are in use.
        self._unknown: dict[str, _Key] = {}

    def guard(self, authorization: str | None, access: Access) -> str:
        """The name of the client that sent this Authorization header.

        :raises Unauthorized: no key, or one that is unknown, revoked or expired
        :raises Forbidden: the key does not have the route's scope
        """
        assert isinstance(access, Scope), "other services do not call the Edge API"
        id_, secret = client_keys.parts(bearer(authorization)) or ("", "")
        key = self._find(id_) if id_ else UNKNOWN
        # The comparison takes as long for an unknown id as for a wrong secret.
        if not hmac.compare_digest(client_keys.digest(secret), key.secret_sha256) or not key.client:
            raise Unauthorized()
        self._note_use(id_, key)
        if access.name not in key.scopes:
            raise Forbidden(f"This key does not have the scope {access.name}.")
        g.key_id = id_
        return key.client

    def _find(self, id_: str) -> _Key:
        known = self._keys.get(id_) or self._unknown.get(id_)
        if known and elapsed() < known.until:
            return known
        rows = self._database.all(FIND, id=id_)
        if rows:
            return _remember(self._keys, id_, _known(rows[0]))
        self._keys.pop(id_, None)
        return _remember(self._unknown, id_, _Key(elapsed() + REMEMBER_UNKNOWN_S))

    def _note_use(self, id_: str, key: _Key) -> None:
        if not key.use_is_noted:
            key.use_is_noted = True
            with suppress(TransientDatabaseError):
                self._database.all(NOTE_USE, id=id_)


def _remember(keys: dict[str, _Key], id_: str, key: _Key) -> _Key:
    if len(keys) >= MAX_REMEMBERED:
        keys.clear()
    keys[id_] = key
    return key


def _known(row: Row) -> _Key:
    left_s = REMEMBER_S if row["seconds_left"] is None else row["seconds_left"]
    return _Key(
        until=elapsed() + min(left_s, REMEMBER_S),
        client=row["client"],
        secret_sha256=bytes(row["secret_sha256"]),
        scopes=frozenset(row["scopes"]),
    )
