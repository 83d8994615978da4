"""The migration of the console's tables, while operators act."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from common.schema import migrate
from tests.database.catalog import catalog
from tests.database.conftest import Sql
from tests.waiting import eventually

BEFORE, AFTER = "holdfast_0024", "holdfast_0025"
RECORD = "INSERT INTO operator_log (actor, action, details) VALUES ('ada', 'order.retry', '{}')"
WAITS = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def old(new_database):
    url = new_database()
    migrate.upgrade(url, BEFORE)
    with closing(Sql(url)) as sql:
        yield url, sql


def test_operators_act_while_the_migration_waits_for_one_of_them(old):
    url, sql = old
    with closing(Sql(url)) as acting:
        acting("BEGIN")
        acting(RECORD)
        migration = threading.Thread(target=migrate.upgrade, args=(url, AFTER))
        migration.start()
        eventually(lambda: sql(WAITS))
        sql("SET lock_timeout = '2s'")
        sql(RECORD)
        acting("COMMIT")
    migration.join()
    assert sql("SELECT count(*) FROM operator_log WHERE action = 'order.retry'") == [(2,)]


def test_migration_that_was_killed_can_be_run_again(old):
    url, sql = old
    migrate.upgrade(url, AFTER)
    complete = catalog(sql)
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_operator_log_actor_at'::regclass")
    sql("DROP INDEX ix_operator_log_action_at")
    sql("UPDATE holdfast_version SET version_num = %(before)s", before=BEFORE)
    migrate.upgrade(url, AFTER)
    assert catalog(sql) == complete
