"""Row 75: the database is not migrated, or belongs to another program. Required: every process says so."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import requests

from common.database import version
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests import credentials
from tests.books import violations
from tests.system.conftest import place
from tests.system.stack import WEB_PROCESSES, Stack
from tests.waiting import eventually

Sql = Callable[..., list[tuple[Any, ...]]]
ORDER = {
    "user_id": str(uuid.uuid4()),
    "email": "a@b.example",
    "items": [{"product_id": str(uuid.uuid4()), "quantity": 1}],
    "payment": {"method": "card", "token": "tok_visa"},
}
ANOTHER_PROGRAM = (
    "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('0005');"
    " CREATE TABLE invoices (id serial PRIMARY KEY)"
)
AS_AN_EARLIER_RELEASE_LEFT_IT = (
    f"CREATE TABLE alembic_version AS SELECT substr(version_num, 10) AS version_num FROM {version.TABLE};"
    f" DROP TABLE {version.TABLE}"
)


@pytest.fixture
def new_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """This test's own database, without tables."""
    name = f"scratch_{uuid.uuid4().hex}"
    _run(postgres.url, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(postgres.url)._replace(path=f"/{name}"))
    _run(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sql(new_url: str) -> Sql:
    return lambda text: _run(new_url, text)


def _run(url: str, text: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def stack(new_url: str, tmp_path: Path) -> Iterator[Stack]:
    """The system's processes; none runs yet."""
    with Stack(new_url, tmp_path, WEB_CONCURRENCY="1") as stack:
        yield stack


@pytest.mark.parametrize("whose", ["nobody's", "another program's"])
def test_every_answer_says_that_the_database_is_not_migrated(stack: Stack, sql: Sql, new_url: str, whose: str) -> None:
    if whose == "another program's":
        sql(ANOTHER_PROGRAM)
    names = (*WEB_PROCESSES, "orchestrator")
    for name in names:
        stack.launch(name)
    for name in WEB_PROCESSES:
        (answer,) = eventually(lambda name=name: _answers(f"{stack.url(name)}/health"), 30)
        assert answer.status_code == 503
        assert answer.json() == {"status": "unhealthy", "service": _service(name), "database": "not migrated"}
    answer = requests.post(f"{stack.url('web')}/orders", json=ORDER, headers={"Idempotency-Key": "key"}, timeout=20)
    assert (answer.status_code, answer.json()["error"]) == (503, "not_migrated"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1

    migrate.upgrade(new_url)
    credentials.add_key_at(new_url)
    eventually(lambda: all(stack.is_ready(name) for name in names), 30)
    place(stack, stack.product(), 3)
    eventually(lambda: sql("SELECT count(*) FROM order_ledger WHERE status = 'COMPLETED'") == [(3,)])
    assert violations(new_url) == {}


def _answers(url: str) -> list[requests.Response]:
    """None while the process starts."""
    try:
        return [requests.get(url, timeout=10)]
    except requests.ConnectionError:
        return []


def _service(name: str) -> str:
    return "edge_api" if name == "web" else name


def test_another_programs_revision_does_not_count_as_ours(new_url: str, sql: Sql) -> None:
    sql(ANOTHER_PROGRAM)
    migrate.upgrade(new_url)
    assert sql(f"SELECT version_num FROM {version.TABLE}") == [(version.NEWEST,)]
    assert sql("SELECT version_num FROM alembic_version") == [("0005",)]
    assert sql("SELECT count(*) FROM order_ledger") == [(0,)]


@pytest.mark.parametrize("number", ["0001", "0002", "0003", "0004", "0005"])
def test_a_database_of_an_earlier_release_is_adopted(new_url: str, sql: Sql, number: str) -> None:
    migrate.upgrade(new_url, version.revision(number))
    sql("INSERT INTO products (id, sku, name, price_cents, stock_quantity) VALUES (gen_random_uuid(), 'A', 'A', 1, 0)")
    sql(AS_AN_EARLIER_RELEASE_LEFT_IT)
    migrate.upgrade(new_url)
    assert sql(f"SELECT version_num FROM {version.TABLE}") == [(version.NEWEST,)]
    assert sql("SELECT sku FROM products") == [("A",)]
    assert sql("SELECT version_num FROM alembic_version") == [(number,)], "the earlier release finds its version"
