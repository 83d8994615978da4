"""Row 60: a migration waits behind a long read of the ledger. Required: orders continue meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.config import Config

from common.schema import locks, migrate
from tests.faults.shared_stack import SharedStack, new_key
from tests.other_session import other_session
from tests.system.conftest import place
from tests.waiting import eventually

ORDERS = 20
MIGRATION = """
from alembic import op

revision, down_revision = "holdfast_9999", "{head}"


def upgrade():
    with op.get_context().autocommit_block():  # it commits by itself, and may run again
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_colour ON order_ledger (email)")
    op.execute("ALTER TABLE order_ledger ADD COLUMN colour text")


def downgrade():
    op.execute("DROP INDEX IF EXISTS ix_colour")
    op.execute("ALTER TABLE order_ledger DROP COLUMN colour")
"""
COLUMNS = "information_schema.columns WHERE table_name = 'order_ledger' AND column_name = 'colour'"


@pytest.fixture
def another_migration(stack: SharedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add a migration that changes the ledger."""
    ((head,),) = stack.sql("SELECT version_num FROM holdfast_version")
    (tmp_path / "holdfast_9999_colour.py").write_text(MIGRATION.format(head=head))
    config = migrate.config

    def config_with_it(url: str) -> Config:
        made = config(url)
        made.set_main_option("version_locations", f"{migrate.ALEMBIC_INI.parent}/alembic/versions:{tmp_path}")
        return made

    monkeypatch.setattr(migrate, "config", config_with_it)
    yield
    migrate.downgrade(stack.server.url, head)


@contextmanager
def long_read(stack: SharedStack) -> Iterator[None]:
    """A report or a backup that reads the ledger until the test ends it."""
    with other_session(stack.server.url) as cursor:
        cursor.execute("SELECT count(*) FROM order_ledger")
        yield


@pytest.mark.usefixtures("another_migration")
def test_orders_complete_while_a_migration_waits_for_the_ledger(
    stack: SharedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: (tries.append(seconds), stopped.wait(seconds)))
    stopped = threading.Event()
    product = stack.product(stock=10 * ORDERS)
    migration = threading.Thread(target=migrate.upgrade, args=[stack.server.url], daemon=True)
    with long_read(stack):
        migration.start()
        waiting = "pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'order_ledger'::regclass"
        eventually(lambda: stack.count(waiting))
        with ThreadPoolExecutor(4) as shops:
            answers = list(shops.map(lambda _: stack.post_order(new_key(), product), range(ORDERS)))
        assert [answer.status_code for answer in answers] == [202] * ORDERS
        eventually(lambda: stack.by_status() == {"COMPLETED": ORDERS})
        eventually(lambda: len(tries) > 1)
        assert stack.count(COLUMNS) == 0
    migration.join(60)
    assert stack.count(COLUMNS) == 1
    assert stack.count("pg_index WHERE indexrelid = 'ix_colour'::regclass AND indisvalid") == 1
    place(stack, product, ORDERS)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2 * ORDERS}


@pytest.mark.usefixtures("another_migration")
def test_migration_that_never_gets_its_lock_says_what_to_do(
    stack: SharedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TABLE_LOCKS_WITHIN_S", 0)
    monkeypatch.setattr(locks, "TABLE_LOCK_WAIT_MS", 10)
    with long_read(stack), pytest.raises(locks.LockUnavailable, match="pg_stat_activity"):
        migrate.upgrade(stack.server.url)
    assert stack.count(COLUMNS) == 0
