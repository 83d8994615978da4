"""Whether the database has the schema of this release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from alembic.script import ScriptDirectory

from common.database import version
from common.database.database import Database
from common.database.errors import DatabaseUnavailable, NotMigrated
from common.schema import migrate
from common.schema.accounts import address_of
from local.postgres import EmbeddedPostgres

Admin = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def set_version(admin: Admin) -> Iterator[Callable[[str], None]]:
    yield lambda name: admin(f"UPDATE {version.TABLE} SET version_num = %s", name)
    admin(f"UPDATE {version.TABLE} SET version_num = %s", version.NEWEST)


def test_file_names_tell_the_newest_migration() -> None:
    head = ScriptDirectory.from_config(migrate.config("")).get_current_head()
    assert head == version.NEWEST


def test_names_of_files_that_alembic_makes(tmp_path: Path) -> None:
    for name in ("0009_a.py", "holdfast_0011_b.py", "0010_c.sql", "__init__.py"):
        (tmp_path / name).touch()
    assert version.newest(tmp_path) == "holdfast_0011"


def test_older_schema_is_not_migrated(database: Database, set_version: Callable[[str], None]) -> None:
    set_version("holdfast_0001")
    with pytest.raises(NotMigrated):
        database.check()
    assert not database.ping()


def test_newer_schema_serves_an_older_release(database: Database, set_version: Callable[[str], None]) -> None:
    set_version("holdfast_9999")
    database.check()


@pytest.mark.parametrize("table", ["nothing", "empty"])
def test_database_without_a_version_is_not_migrated(database: Database, admin: Admin, table: str) -> None:
    admin(f"ALTER TABLE {version.TABLE} RENAME TO aside")
    try:
        if table == "empty":
            admin(f"CREATE TABLE {version.TABLE} (version_num text)")
        with pytest.raises(NotMigrated):
            database.check()
    finally:
        admin(f"DROP TABLE IF EXISTS {version.TABLE}")
        admin(f"ALTER TABLE aside RENAME TO {version.TABLE}")


def test_role_that_may_not_read_the_version_is_served(
    own_server: EmbeddedPostgres, new_database: Callable[..., Database], admin: Admin
) -> None:
    admin("CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
    try:
        new_database(url=address_of(own_server.url, "clerk", "clerk")).check(timeout=20)
    finally:
        admin("DROP ROLE clerk")


MISMATCHES = {
    "undefined table": "SELECT * FROM nowhere",
    "undefined column": "SELECT nothing FROM t",
    "undefined operator": "SELECT * FROM t WHERE id = 1",
    "another type": "INSERT INTO t (id) VALUES (1)",
    "no unique constraint": "INSERT INTO t (name) VALUES ('a') ON CONFLICT (name) DO NOTHING",
    "undefined type": "SELECT name::colour FROM t",
}


@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_mismatched_statement_on_an_old_schema_is_not_migrated(
    database: Database, set_version: Callable[[str], None], mismatch: str
) -> None:
    set_version("holdfast_0001")
    with pytest.raises(NotMigrated):
        database.one(MISMATCHES[mismatch])
    with pytest.raises(NotMigrated):
        database.transact(lambda tx: tx.execute(MISMATCHES[mismatch]))


@pytest.mark.parametrize("mismatch", ["undefined operator", "another type", "no unique constraint", "undefined type"])
def test_mismatched_statement_on_the_current_schema_is_a_bug(database: Database, mismatch: str) -> None:
    with pytest.raises(psycopg2.ProgrammingError):
        database.one(MISMATCHES[mismatch])


@pytest.mark.parametrize("mismatch", ["undefined table", "undefined column"])
def test_undefined_names_are_transient_because_a_migration_may_be_running(database: Database, mismatch: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        database.one(MISMATCHES[mismatch])
