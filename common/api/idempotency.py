"""The same key and the same body: the first answer again, and no second effect (contract.md, "Idempotency").

The key is inserted before the work, in the transaction of the work. A second call with it waits in the unique
index until the first has committed, and then finds the answer; after a crash nothing of either is left.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg2
from marshmallow import Schema

from common.api.errors import ApiError, IdempotencyKeyReused, RequestInProgress
from common.database.database import Transaction
from common.json_text import encode

WELL_FORMED = re.compile(r"[\x20-\x7e]{1,255}")
SENT_TWICE = "\0"
"""How a key ends that came in two headers, which WSGI joins with a comma: common/server/worker.py adds it, and no
client can."""


@dataclass(frozen=True)
class Answer:
    """What is sent back: a status and a body that is JSON text already; `replayed` when it was stored before."""

    status: int
    body: str
    replayed: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, body: dict[str, Any]) -> Answer:
        return cls(status, encode.compact(body))

    @classmethod
    def dumped(cls, status: int, schema: type[Schema], data: Any) -> Answer:
        return cls.of(status, _instance(schema).dump(data))

    @classmethod
    def refusal(cls, error: ApiError) -> Answer:
        return cls.of(error.status, error.body())


@cache
def _instance(schema: type[Schema]) -> Schema:
    """One for all: to make a schema takes longer than to dump with it."""
    return schema()


def fingerprint(request: Any) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of a request: sorted keys, no white space."""
    return hashlib.sha256(encode.canonical(request).encode()).hexdigest()


def once(tx: Transaction, table: str, scope: str, key: str, request: Any, work: Callable[[], Answer]) -> Answer:
    """Do `work` unless `key` has been used in this scope; then give the first answer again.

    :param request: what must be the same for the key to mean the same call
    :raises IdempotencyKeyReused: the key was used for another request
    :raises RequestInProgress: another call with the key is still at work after the database's lock_timeout
    """
    print_ = fingerprint(request)
    try:
        is_first = tx.execute(
            f"INSERT INTO {table} (scope, key, fingerprint) VALUES (%(scope)s, %(key)s, %(print)s)"
            " ON CONFLICT DO NOTHING",
            scope=scope, key=key, print=print_,
        )  # fmt: skip
    except psycopg2.errors.LockNotAvailable as error:
        raise RequestInProgress() from error
    if not is_first:
        return _replay(tx, table, scope, key, print_)
    try:
        answer = work()
    except ApiError as error:
        if not error.is_final:
            raise
        answer = Answer.refusal(error)
    tx.execute_at_the_end(
        f"UPDATE {table} SET status = %(status)s, body = %(body)s WHERE scope = %(scope)s AND key = %(key)s",
        scope=scope, key=key, status=answer.status, body=answer.body,
    )  # fmt: skip
    return answer


def _replay(tx: Transaction, table: str, scope: str, key: str, print_: str) -> Answer:
    row = tx.one(
        f"SELECT fingerprint, status, body FROM {table} WHERE scope = %(scope)s AND key = %(key)s", scope=scope, key=key
    )
    if row is None:
        raise RequestInProgress()
    if row["fingerprint"] != print_:
        raise IdempotencyKeyReused()
    return Answer(row["status"], row["body"], replayed=True)
