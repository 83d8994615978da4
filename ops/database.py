"""The connection of one command, and why it cannot be used, in an operator's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psycopg2

from common.database.sessions import connect
from common.database.transaction import Transaction
from common.process.settings import SettingError, Settings

NOT_MIGRATED = "the database is not migrated to this version: python -m ops migrate"
REASONS = (
    (psycopg2.errors.UndefinedTable, NOT_MIGRATED),
    (psycopg2.errors.UndefinedColumn, NOT_MIGRATED),
    (psycopg2.errors.InsufficientPrivilege, "the role in DATABASE_URL may not do this: {}"),
    (psycopg2.errors.QueryCanceled, "the database took too long: the statement was cancelled"),
    (psycopg2.errors.LockNotAvailable, "another transaction holds a lock on this: try again"),
)


class Opened(NamedTuple):
    tx: Transaction
    settings: Settings
    connection: Any


class Unusable(Exception):
    """The command cannot do its work. The message is one line and holds no password."""


@contextmanager
def transaction(environ: Mapping[str, str] | None, *, timeout_s: int, **session: Any) -> Iterator[Transaction]:
    """One transaction on the database in DATABASE_URL, taken from `environ` or else from the process's environment.

    :param timeout_s: for each statement
    :param session: as psycopg2's `set_session` takes it
    :raises Unusable: no such setting, no such database, not migrated, no right to do this, not in time
    """
    with opened(environ, timeout_s=timeout_s, **session) as (tx, _, _):
        yield tx


@contextmanager
def opened(environ: Mapping[str, str] | None, *, timeout_s: int, **session: Any) -> Iterator[Opened]:
    """Like `transaction`, with the settings and the connection. A command that only reads has a role of its own."""
    with connected(environ, **session) as (settings, connection), within(connection, timeout_s=timeout_s) as tx:
        yield Opened(tx, settings, connection)


@contextmanager
def within(connection: Any, *, timeout_s: int) -> Iterator[Transaction]:
    """One transaction on an open connection."""
    with connection, connection.cursor() as cursor:
        # Within the transaction: a pooler in transaction mode drops the settings of a session.
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", (f"{timeout_s}s",))
        cursor.execute("SELECT set_config('timezone', 'UTC', true)")  # for times within a text
        yield Transaction(cursor)


@contextmanager
def connected(environ: Mapping[str, str] | None, **session: Any) -> Iterator[tuple[Settings, Any]]:
    """The settings and a connection, for a command with several transactions. :raises Unusable:"""
    try:
        settings = Settings.load(environ, "audit" if session.get("readonly") else "")
        with closing(connect(settings.database_direct_url, name="holdfast ops")) as connection:
            connection.set_session(**session)
            yield settings, connection
    except SettingError as error:
        raise Unusable(str(error)) from None
    except psycopg2.Error as error:
        raise Unusable(reason(error)) from None


def reason(error: psycopg2.Error) -> str:
    """The error in an operator's words."""
    for kind, words in REASONS:
        if isinstance(error, kind):
            return words.format(_first_line(error))
    if error.pgcode is not None:
        return f"the database refuses this: {_first_line(error)}"
    return f"the database cannot be reached: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0]
