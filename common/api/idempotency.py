"""Run a call once per key: the same key with the same body gets the first response again, without a second effect.

The key is inserted before the work, in the transaction of the work. A second call with the key waits in the unique
index until the first has committed, and then finds its response. A crash leaves neither the key nor an effect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import psycopg2
from marshmallow import Schema

from common.api.errors import ApiError, IdempotencyKeyReused, RequestExpired, RequestInProgress
from common.database.database import Transaction
from common.json_text import encode

Body = Mapping[str, Any]

WELL_FORMED = re.compile(r"[\x20-\x7e]{1,255}")
SENT_TWICE = "\0"
"""The end of a key that came in two headers, which WSGI joins with a comma. common/server/worker.py adds it; a client
cannot send it."""


@dataclass(frozen=True)
class StoredResponse:
    """A status and a body as JSON text; `replayed` if it comes from the database."""

    status: int
    body: str
    replayed: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, body: dict[str, Any]) -> StoredResponse:
        return cls(status, encode.compact(body))

    @classmethod
    def dumped(cls, status: int, schema: type[Schema], data: Any) -> StoredResponse:
        return cls.of(status, _instance(schema).dump(data))

    @classmethod
    def refusal(cls, error: ApiError) -> StoredResponse:
        return cls.of(error.status, error.body())


@cache
def _instance(schema: type[Schema]) -> Schema:
    """One instance for all calls: making a schema takes longer than dumping with it."""
    return schema()


@dataclass(frozen=True)
class Fingerprint:
    """Tells apart two requests with the same key: a digest of the body as the client sent it.

    It is not of the body as this release reads it: a new optional field with a default would change the digest of every
    earlier request, and a repeat after the upgrade would be refused.
    """

    sent: Any
    as_0_1_read_it: Callable[[], Any] | None = None
    """The body as release 0.1 loaded it, with its defaults, because 0.1 stored the digest of that. Never change the
    result for a request that 0.1 accepted."""

    @cached_property
    def value(self) -> str:
        """The digest to store with a new key."""
        return fingerprint_of(self.sent)

    def matches(self, stored: str) -> bool:
        """Whether `stored` is the digest of this request, by the rule of this release or of 0.1."""
        if stored == self.value:
            return True
        return self.as_0_1_read_it is not None and stored == fingerprint_of(self.as_0_1_read_it())


def fingerprint_of(request: Any) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of a request: sorted keys, no white space."""
    return hashlib.sha256(encode.canonical(request).encode()).hexdigest()


def with_defaults(sent: Body, defaults: Body, ids: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a body as release 0.1 loaded it: absent fields filled in, UUIDs in lower case."""
    return {**defaults, **sent, **{name: sent[name].lower() for name in ids if name in sent}}


def once(
    tx: Transaction,
    table: str,
    scope: str,
    key: str,
    fingerprint: Fingerprint,
    work: Callable[[], StoredResponse],
    scope_column: str = "scope",
) -> StoredResponse:
    """Run `work`, or return the first response again if `key` has been used in this scope.

    :param scope_column: of the table
    :raises IdempotencyKeyReused: the key was used for another request
    :raises RequestExpired: the first response is no longer kept
    :raises RequestInProgress: another call with the key still holds it after the database's lock_timeout
    """
    try:
        is_first = tx.execute(
            f"INSERT INTO {table} ({scope_column}, key, fingerprint) VALUES (%(scope)s, %(key)s, %(fingerprint)s)"
            " ON CONFLICT DO NOTHING",
            scope=scope, key=key, fingerprint=fingerprint.value,
        )  # fmt: skip
    except psycopg2.errors.LockNotAvailable as error:
        raise RequestInProgress() from error
    if not is_first:
        return _replay(tx, table, scope, key, fingerprint, scope_column)
    try:
        response = work()
    except ApiError as error:
        if not error.is_final:
            raise
        response = StoredResponse.refusal(error)
    tx.execute_at_the_end(
        f"UPDATE {table} SET status = %(status)s, body = %(body)s"
        f" WHERE {scope_column} = %(scope)s AND key = %(key)s",
        scope=scope, key=key, status=response.status, body=response.body,
    )  # fmt: skip
    return response


def _replay(
    tx: Transaction, table: str, scope: str, key: str, fingerprint: Fingerprint, scope_column: str
) -> StoredResponse:
    response = stored(tx, table, scope, key, fingerprint, scope_column)
    if response is None:
        raise RequestInProgress()
    return response


def stored(
    tx: Transaction, table: str, scope: str, key: str, fingerprint: Fingerprint, scope_column: str = "scope"
) -> StoredResponse | None:
    """The first response to a request, or None if it has none yet.

    :raises IdempotencyKeyReused: the key was used for another request
    :raises RequestExpired: the first response is no longer kept
    """
    row = tx.one(
        f"SELECT fingerprint, status, body FROM {table} WHERE {scope_column} = %(scope)s AND key = %(key)s",
        scope=scope, key=key,
    )  # fmt: skip
    if row is None:
        return None
    if not fingerprint.matches(row["fingerprint"]):
        raise IdempotencyKeyReused()
    if row["status"] is None:
        raise RequestExpired()  # the response was deleted (`ops retain`); the key still has no second effect
    return StoredResponse(row["status"], row["body"], replayed=True)
