"""The keys of clients and of operators, for admins. They are made, rotated and revoked as by `python -m ops`.

The text of a new key is in no table: it goes from the transaction that made the key to the one answer, and a repeat
with the same form finds only that the key exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.api.errors import ApiError, ValidationFailed
from common.api.fields import rfc3339
from common.credentials import client_keys, operator_keys
from common.database.database import Database, Row, Transaction
from console import key_statements as statements
from console.writes import Done, Write, within
from ops import keys, operators
from ops.database import Unusable


class KeyNotValid(ApiError):
    """The key is unknown, revoked or expired."""

    status, code = 409, "key_not_valid"


class LastAdminKey(ApiError):
    """This is the last valid key of an admin. Make another one first: nobody could make keys here without one."""

    status, code = 409, "last_admin_key"


@dataclass(frozen=True)
class Made:
    id: str
    whose: str
    text: str | None
    """None: it was made before, by the same form, and is not shown again."""


@dataclass(frozen=True)
class By:
    """The operator, and the idempotency key."""

    operator: str
    key: str


def client_keys_page(database: Database, query: Mapping[str, Any]) -> Row:
    """One page of the keys of clients. :param query: `limit`, `with_ended`, and `cursor`"""
    found, next_cursor = _page(database, statements.CLIENT_KEYS, statements.CLIENT_KEYS_AFTER, query)
    return {"client_keys": found, "next_cursor": next_cursor}


def operator_keys_page(database: Database, query: Mapping[str, Any]) -> Row:
    """The same for the keys of operators."""
    found, next_cursor = _page(database, statements.OPERATOR_KEYS, statements.OPERATOR_KEYS_AFTER, query)
    return {"operator_keys": found, "next_cursor": next_cursor}


def create_client_key(database: Database, by: By, client: str, scopes: list[str], expires_at: datetime | None) -> Made:
    """:raises ValidationFailed: the name or a scope is not valid, or the key would never work"""
    noted = {"client": client, "scopes": sorted(scopes), "expires_at": _text(expires_at)}

    def make(tx: Transaction) -> str:
        return keys.create(tx, client, scopes, expires_at, by=by.operator)

    return _made(database, Write(by.operator, by.key, "keys.create", noted), client, make)


def rotate_client_key(database: Database, by: By, id_: str, expires_at: datetime | None) -> Made:
    """Make a key that replaces another one. Both work for 24 hours.

    :raises KeyNotValid, ValidationFailed: and nothing was changed
    """

    def make(tx: Transaction) -> str:
        successor = keys.replace(tx, id_, keys.KEEP_FOR_S, expires_at, by=by.operator)
        if successor is None:
            raise KeyNotValid(f"{keys.reason_against(tx, id_)}.")
        return successor.key

    noted = {"key": id_, "expires_at": _text(expires_at)}
    return _made(database, Write(by.operator, by.key, "keys.rotate", noted), id_, make)


def revoke_client_key(database: Database, by: By, id_: str) -> Done:
    """:raises KeyNotValid: it is unknown, or revoked already"""

    def work(tx: Transaction) -> Row:
        if (revoked := keys.end(tx, id_, by=by.operator)) is None:
            raise KeyNotValid(f"{keys.reason_against(tx, id_)}.")
        return revoked

    return within(database, Write(by.operator, by.key, "keys.revoke", {"key": id_}), work, is_recorded=True)


def create_operator_key(database: Database, by: By, name: str, role: str, expires_at: datetime | None) -> Made:
    """:raises ValidationFailed: the name or the role is not valid, or the key would never work"""
    noted = {"name": name, "role": role, "expires_at": _text(expires_at)}

    def make(tx: Transaction) -> str:
        return operators.create(tx, name, role, expires_at, by=by.operator)

    return _made(database, Write(by.operator, by.key, "operators.create", noted), name, make)


def revoke_operator_key(database: Database, by: By, id_: str) -> Done:
    """:raises LastAdminKey, KeyNotValid: and nothing was changed"""

    def work(tx: Transaction) -> Row:
        if [row["id"] for row in tx.all(statements.LOCK_ADMIN_KEYS)] == [id_]:
            raise LastAdminKey()
        if (revoked := operators.end(tx, id_, by=by.operator)) is None:
            raise KeyNotValid()
        return revoked

    return within(database, Write(by.operator, by.key, "operators.revoke", {"key": id_}), work, is_recorded=True)


def _made(database: Database, write: Write, whose: str, make: Callable[[Transaction], str]) -> Made:
    texts: list[str] = []

    def work(tx: Transaction) -> Row:
        texts[:] = [make(tx)]  # the transaction may be tried again
        id_, _ = client_keys.parts(texts[0]) or operator_keys.parts(texts[0]) or ("", "")
        return {"key_id": id_}

    with _in_our_words():
        done = within(database, write, work, is_recorded=True)
    return Made(done.result["key_id"], whose, None if done.is_repeat else texts[0])


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except Unusable as error:
        raise ValidationFailed(_sentence(str(error))) from None


def _page(database: Database, first: str, later: str, query: Mapping[str, Any]) -> tuple[list[Row], str | None]:
    limit = query["limit"]
    names = {"limit": limit + 1, "with_ended": query.get("with_ended", False)}
    found = database.all(later, **names, after=query["cursor"]) if "cursor" in query else database.all(first, **names)
    return found[:limit], found[limit - 1]["id"] if len(found) > limit else None


def _text(time: datetime | None) -> str | None:
    return rfc3339(time) if time else None


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
