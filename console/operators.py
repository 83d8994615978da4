"""Identify the operator: by the key that a program sends, or by the session of a browser."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from flask import g

from common.api.access import Access, Role
from common.api.errors import ApiError, Forbidden, Unauthorized
from common.api.guards import bearer
from common.credentials import operator_keys
from common.credentials.client_keys import digest
from common.database import operator_log
from common.database.database import Database

SESSION_S = 12 * 3600
NOBODY = digest("")

FIND_KEY = """
SELECT id, name, role, secret_sha256 FROM operator_keys
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
# At most once a minute. A request does not wait for a lock on the row.
NOTE_USE = """
UPDATE operator_keys SET last_used_at = now() WHERE id IN (
  SELECT id FROM operator_keys
  WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
  FOR NO KEY UPDATE SKIP LOCKED)
"""
ADD_SESSION = """
INSERT INTO operator_sessions (token_sha256, name, role, key_id, expires_at)
VALUES (%(token_sha256)s, %(name)s, %(role)s, %(key_id)s, now() + %(session_s)s * interval '1 second')
"""
# A session by a key ends with the key, and has the role that the key has now.
FIND_SESSION = """
SELECT s.name, COALESCE(k.role, s.role) AS role, s.notice, s.key_id
FROM operator_sessions s LEFT JOIN operator_keys k ON k.id = s.key_id
WHERE s.token_sha256 = %(token_sha256)s AND s.expires_at > now() AND (s.key_id IS NULL
  OR k.id IS NOT NULL AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()))
"""
NOTE = "UPDATE operator_sessions SET notice = %(notice)s WHERE token_sha256 = %(token_sha256)s"
END_SESSION = "DELETE FROM operator_sessions WHERE token_sha256 = %(token_sha256)s RETURNING name"
# At each sign-in, so that nobody has to.
DELETE_ENDED = """
DELETE FROM operator_sessions WHERE token_sha256 = ANY (ARRAY(
  SELECT token_sha256 FROM operator_sessions WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED))
"""


class ReadOnly(ApiError):
    """The console is read-only (CONSOLE_READ_ONLY)."""

    status, code = 403, "read_only"


@dataclass(frozen=True)
class Operator:
    name: str
    role: str
    notice: str | None = None
    """What the next page tells."""
    key_id: str | None = None
    """None: the operator was recognized in another way than by a key."""

    def may(self, role: str) -> bool:
        return operator_keys.covers(self.role, role)


class Operators:
    """The operators that the database knows. Nothing is remembered: a revoked key stops at once."""

    def __init__(self, database: Database, *, is_read_only: bool = False) -> None:
        self.database, self.is_read_only = database, is_read_only

    def guard(self, authorization: str | None, access: Access) -> str:
        """The name of the operator who sent this Authorization header.

        :raises Unauthorized: no key, or one that is unknown, revoked or expired
        :raises Forbidden: the key's role may not call this route
        """
        assert isinstance(access, Role), "only operators call the console"
        operator, _ = self._by_key(bearer(authorization))
        self.check(operator, access.name)
        return operator.name

    def check(self, operator: Operator, role: str) -> None:
        """:raises Forbidden, ReadOnly: the operator may not do what needs this role"""
        g.operator = operator  # also the page of the refusal is theirs
        if not operator.may(role):
            raise Forbidden(f"This needs the role {role}, and {operator.name} has the role {operator.role}.")
        if self.is_read_only and role != operator_keys.ROLES[0]:
            raise ReadOnly()

    def sign_in(self, key: str) -> str:
        """Begin a session. :returns: its token :raises Unauthorized: as `guard`"""
        operator, key_id = self._by_key(key)
        return self.begin_session(operator, key_id)

    def begin_session(self, operator: Operator, key_id: str | None, **account: str) -> str:
        """:param key_id: None: the operator was recognized in another way than by a key :param account: how, then"""
        token = secrets.token_urlsafe(32)
        self.database.all(DELETE_ENDED)
        self.database.all(
            ADD_SESSION,
            token_sha256=digest(token),
            name=operator.name,
            role=operator.role,
            key_id=key_id,
            session_s=SESSION_S,
        )
        details = {"key": key_id, "role": operator.role, **account}
        operator_log.add(self.database, operator.name, "console.sign_in", details)
        return token

    def by_session(self, token: str) -> Operator | None:
        row = self.database.one(FIND_SESSION, token_sha256=digest(token)) if token else None
        return Operator(row["name"], row["role"], row["notice"], row["key_id"]) if row else None

    def note(self, token: str, notice: str | None) -> None:
        """Tell something on the next page of a session."""
        self.database.all(NOTE, token_sha256=digest(token), notice=notice)

    def sign_out(self, token: str) -> None:
        if ended := self.database.one(END_SESSION, token_sha256=digest(token)):
            operator_log.add(self.database, ended["name"], "console.sign_out", {})

    def _by_key(self, key: str) -> tuple[Operator, str]:
        id_, secret = operator_keys.parts(key) or ("", "")
        row = self.database.one(FIND_KEY, id=id_) if id_ else None
        # The comparison takes as long for an unknown id as for a wrong secret.
        if not hmac.compare_digest(digest(secret), bytes(row["secret_sha256"]) if row else NOBODY) or row is None:
            raise Unauthorized()
        self.database.all(NOTE_USE, id=id_)
        return Operator(row["name"], row["role"], key_id=id_), id_
