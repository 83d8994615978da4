"""`python -m ops migrate`: the Procfile's `release`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from common.database import version
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests.system.running import Running

COMMAND = [sys.executable, "-m", "ops", "migrate"]


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """An empty database for this test."""
    statement(postgres.url, "CREATE DATABASE to_migrate")
    yield postgres.url.replace("/holdfast?", "/to_migrate?")
    statement(postgres.url, "DROP DATABASE to_migrate WITH (FORCE)")


def statement(url: str, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def tables(url: str) -> int:
    return len(
        statement(url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'holdfast_version'")
    )


def test_two_migrations_at_once_both_succeed(empty_url: str, tmp_path: Path) -> None:
    both = [Running(COMMAND, tmp_path / str(i), DATABASE_URL=empty_url) for i in range(2)]
    assert [each.ends() for each in both] == [0, 0]
    # One ran the migrations. The other waited and found nothing to do.
    assert sorted("Running upgrade" in each.output for each in both) == [False, True]
    assert tables(empty_url) > 0


def test_migrations_run_up_down_and_up_again(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    before = tables(empty_url)
    migrate.downgrade(empty_url, "base")
    assert tables(empty_url) == 0
    migrate.upgrade(empty_url)
    assert tables(empty_url) == before


def test_migration_is_recorded_once(empty_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        assert Running(COMMAND, tmp_path / "output", DATABASE_URL=empty_url).ends() == 0
    rows = statement(empty_url, "SELECT details FROM operator_log WHERE action = 'migrate'")
    assert rows == [({"before": "", "after": version.NEWEST},)]


def test_alembic_command_works_from_any_folder(empty_url: str, tmp_path: Path) -> None:
    heroku_spelling = empty_url.replace("postgresql:", "postgres:")
    command = [sys.executable, "-m", "alembic", "--config", str(migrate.ALEMBIC_INI), "upgrade", "head"]
    run = Running(command, tmp_path / "output", cwd=tmp_path, DATABASE_URL=heroku_spelling)
    assert run.ends() == 0, run.output
    assert tables(empty_url) > 0


def test_migration_under_honcho_stays_until_it_is_stopped(empty_url: str, tmp_path: Path) -> None:
    run = Running(COMMAND, tmp_path / "output", DATABASE_URL=empty_url, HONCHO_PROCESS_NAME="release.1")
    run.says("newest schema")
    assert run.process.poll() is None
    assert run.ends(signal.SIGTERM) == 0


def test_missing_database_is_one_line(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    url = postgres.url.replace("/holdfast?", "/nowhere?")
    run = Running(COMMAND, tmp_path / "output", DATABASE_URL=url)
    assert run.ends() == 1
    assert 'database "nowhere" does not exist' in run.output
    assert run.output.count("\n") == 1
