"""Databases for single tests on the shared server, and connections to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from common.schema import migrate
from local.postgres import EmbeddedPostgres

Rows = list[tuple[Any, ...]]


class Sql:
    """Statements on one connection, each committed by itself: `sql("SELECT …", id=1)` → rows."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def __call__(self, text: str, /, **params: Any) -> Rows:
        with self._connection.cursor() as cursor:
            cursor.execute(text, params or None)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, row: dict[str, Any]) -> None:
        values = ", ".join(f"%({column})s" for column in row)
        self(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", **row)

    def close(self) -> None:
        self._connection.close()


class Trial(Sql):
    """Like `Sql`, but in one transaction that is rolled back. A refused statement does not end it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        super().__call__("BEGIN")

    def __call__(self, text: str, /, **params: Any) -> Rows:
        super().__call__("SAVEPOINT statement")
        try:
            return super().__call__(text, **params)
        except psycopg2.Error:
            super().__call__("ROLLBACK TO statement")
            raise


@pytest.fixture(scope="module")
def connect() -> Iterator[Callable[[str], Sql]]:
    opened: list[Sql] = []

    def open_(url: str) -> Sql:
        opened.append(Sql(url))
        return opened[-1]

    yield open_
    for sql in opened:
        sql.close()


@pytest.fixture(scope="module")
def new_database(postgres: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """Create an empty database and return its address; it is dropped at the end of the module."""
    made: list[str] = []
    with closing(Sql(postgres.url)) as server:

        def make() -> str:
            made.append(f"scratch_{uuid.uuid4().hex}")
            server(f"CREATE DATABASE {made[-1]}")
            return urlunsplit(urlsplit(postgres.url)._replace(path=f"/{made[-1]}"))

        yield make
        for name in made:
            server(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def new_migrated_database(new_database: Callable[[], str]) -> Callable[[], str]:
    def make() -> str:
        url = new_database()
        migrate.upgrade(url)
        return url

    return make


@pytest.fixture(scope="module")
def empty_tables(new_migrated_database: Callable[[], str]) -> str:
    return new_migrated_database()


@pytest.fixture
def sql(empty_tables: str) -> Iterator[Sql]:
    """Run in a transaction on empty tables and roll it back, which is faster than TRUNCATE."""
    with closing(Trial(empty_tables)) as trial:
        yield trial
