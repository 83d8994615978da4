"""A database server that tests may restart, freeze or break, and connection pools to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from common.database import version
from common.database.database import Database
from local.postgres import EmbeddedPostgres


@pytest.fixture(scope="package")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    settings = {"fsync": "off", "deadlock_timeout": "20ms"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("own") / "data", settings) as server:
        yield server


@pytest.fixture
def admin(own_server: EmbeddedPostgres) -> Callable[..., list[tuple[Any, ...]]]:
    """`admin("SELECT …")` → rows: a statement on its own connection. There is a table `t`."""

    def run(text: str, *params: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(own_server.url, options="-c default_transaction_read_only=off")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, params)
                return cursor.fetchall() if cursor.description else []

    run("DROP TABLE IF EXISTS t")
    run(f"CREATE TABLE IF NOT EXISTS {version.TABLE} AS SELECT '{version.NEWEST}'::text AS version_num")
    run("CREATE TABLE t (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, name text, at timestamptz DEFAULT now())")
    return run


@pytest.fixture
def new_database(own_server: EmbeddedPostgres, admin: object) -> Iterator[Callable[..., Database]]:
    """`new_database(size=2)`: a pool. It is closed after the test."""
    made: list[Database] = []

    def make(size: int = 2, url: str | None = None) -> Database:
        made.append(Database(url or own_server.url, name="test", size=size))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def database(new_database: Callable[..., Database]) -> Database:
    return new_database()
