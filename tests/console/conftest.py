"""The console on a real database, and operators with each role."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from flask import Flask

from common.process.settings import Settings
from console.app import create_app
from tests import credentials
from tests.audit.every_state import Books, books, trial
from tests.console.desk import Desk, new_key
from tests.database.conftest import connect, new_database, new_migrated_database
from tests.database.valid_rows import VALID

__all__ = ["books", "connect", "new_database", "new_migrated_database", "trial"]  # fixtures


@pytest.fixture(scope="session")
def console_app(migrated_url: str) -> Flask:
    return create_app(Settings.load({"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}))


@pytest.fixture
def console_with(settings: Callable[..., Settings]) -> Callable[..., Flask]:
    """`console_with(CONSOLE_PATH="/ops")`: another instance with these settings."""
    return lambda **environ: create_app(settings(**environ))


@pytest.fixture
def key(url: str) -> Callable[..., str]:
    """`key("admin", name="grace")`: a new operator key."""
    return lambda role="viewer", name="ada": new_key(url, role, name)


@pytest.fixture
def desk(console_app: Flask, key: Callable[..., str]) -> Desk:
    """The browser of a viewer who is signed in."""
    return Desk(console_app, key())


@pytest.fixture
def sql(url: str) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Run one statement: `sql("SELECT …")` → rows."""
    with closing(psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)) as connection:
        connection.autocommit = True

        def run(statement: str, **params: Any) -> list[dict[str, Any]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, params or None)
                return [dict(row) for row in cursor.fetchall()] if cursor.description else []

        yield run


@pytest.fixture
def add_order(sql: Callable[..., list[dict[str, Any]]]) -> Callable[..., str]:
    """`add_order(client="till", reference="r-1")` → the id of an entry in the ledger, held and not yet authorized."""

    def add(**columns: Any) -> str:
        id_ = str(uuid.uuid4())
        row = VALID["order_ledger"] | {"id": id_, "client_request_id": id_} | columns
        names = ", ".join(row)
        sql(f"INSERT INTO order_ledger ({names}) VALUES ({', '.join(f'%({name})s' for name in row)})", **row)
        return str(row["id"])

    return add


@pytest.fixture(scope="module")
def books_app(books: Books) -> Flask:
    """The console on a database with an order in every state."""
    return create_app(Settings.load({"DATABASE_URL": books[0], "LOG_LEVEL": "ERROR", **credentials.SETTINGS}))
