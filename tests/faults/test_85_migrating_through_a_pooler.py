"""Row 85: migrations through a pooler, and several hosts. Required: no lock is left; there is a direct address."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from common.database.database import Database
from common.schema import locks, migrate
from local import roles
from tests.faults.shared_stack import ALL, LISTENS, NEVER, SharedStack
from tests.other_session import other_session
from tests.pgbouncer import pgbouncer
from tests.severable import Severable
from tests.system.conftest import place
from tests.system.running import Running
from tests.system.stack import free_port
from tests.waiting import eventually

MIGRATE = [sys.executable, "-m", "ops", "migrate"]
AUDIT = [sys.executable, "-m", "ops", "audit"]
LOCKS = f"pg_locks WHERE locktype = 'advisory' AND objid = {locks.LOCK_ID} AND granted"


@pytest.fixture
def pooler(stack: SharedStack, tmp_path: Path) -> Iterator[str]:
    with pgbouncer(stack.server.url, tmp_path / "pgbouncer") as url:
        yield url


def test_migration_killed_behind_a_pooler_leaves_no_lock(stack: SharedStack, pooler: str, tmp_path: Path) -> None:
    with other_session(stack.server.url) as cursor:
        cursor.execute("LOCK TABLE holdfast_version")  # so that it can be killed during the migration
        run = Running(MIGRATE, tmp_path / "killed", DATABASE_URL=pooler)
        eventually(lambda: stack.count(LOCKS))
        assert run.ends(signal.SIGKILL) == -signal.SIGKILL
    for number in range(2):
        run = Running(MIGRATE, tmp_path / str(number), DATABASE_URL=pooler)
        assert run.ends() == 0, run.output
    assert stack.count(LOCKS) == 0


def test_lock_kept_by_a_pooler_is_reported(stack: SharedStack, pooler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier release took a session lock, and a pooler keeps the session."""
    monkeypatch.setattr(locks, "ALONE_WITHIN_S", 0)
    with closing(psycopg2.connect(pooler)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s), pg_backend_pid()", (locks.LOCK_ID,))
            ((_, pid),) = cursor.fetchall()
    assert stack.count(LOCKS) == 1
    with pytest.raises(locks.LockUnavailable, match=rf"pooler.*DATABASE_DIRECT_URL.*pg_terminate_backend\({pid}\)"):
        migrate.upgrade(stack.server.url)
    stack.sql("SELECT pg_terminate_backend(%(pid)s, 10000)", pid=pid)
    migrate.upgrade(stack.server.url)


def test_direct_address_is_used_for_migrations_listening_and_the_audit(
    stack: SharedStack, pooler: str, tmp_path: Path
) -> None:
    environ = {"DATABASE_URL": pooler, "DATABASE_DIRECT_URL": stack.server.url}
    (direct,) = roles.address(stack.server.url, "orchestrator").values()
    stack.end(*ALL)
    stack.start(*ALL, **environ, ORCHESTRATOR_DATABASE_DIRECT_URL=direct, POLL_INTERVAL_S=NEVER)
    eventually(lambda: len(stack.backends(LISTENS)) == 2)  # notifications reach them without a poll
    place(stack, stack.product(), 5)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 5}
    nowhere = {**environ, "DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
    for number, command in enumerate((MIGRATE, AUDIT)):
        run = Running(command, tmp_path / str(number), **nowhere)
        assert run.ends() == 0, run.output


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://{user}@127.0.0.1:{away},127.0.0.1:{port}/{dbname}?passfile={passfile}",
        "postgresql://{user}@/{dbname}?host=127.0.0.1,127.0.0.1&port={away},{port}&passfile={passfile}",
    ],
)
def test_several_hosts_in_both_forms(stack: SharedStack, form: str, tmp_path: Path) -> None:
    way = Severable(stack.server.url)
    try:
        url = form.format(**psycopg2.extensions.parse_dsn(way.url), away=free_port())
        for number, command in enumerate((MIGRATE, AUDIT)):
            run = Running(command, tmp_path / str(number), DATABASE_URL=url)
            assert run.ends() == 0, run.output
        with closing(Database(url, name="test", size=1)) as database:
            database.check(timeout=20)
            assert database.one("SELECT 1 AS one") == {"one": 1}
    finally:
        way.stop()
