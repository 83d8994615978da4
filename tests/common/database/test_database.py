"""Transactions, conflicts and the limits of the pool."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC
from functools import partial

import psycopg2
import pytest

from common.api.errors import ApiError
from common.database import database as db
from common.database import lock_wait, sessions
from common.database.errors import DatabaseBusy, DatabaseUnavailable, RowsLocked
from common.process import moments
from tests.at_once import at_once

PID = "SELECT pg_backend_pid() AS pid"
INSERT = "INSERT INTO t (name) VALUES ('a')"
RAISE = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"


def names(admin):
    return [name for (name,) in admin("SELECT name FROM t ORDER BY name")]


# Transactions and rows


def test_statements_of_a_transaction_commit_together(database, admin):
    def work(tx):
        assert tx.execute(INSERT) == 1
        assert tx.all("INSERT INTO t (name) VALUES (%(name)s) RETURNING name", name="b") == [{"name": "b"}]
        assert names(admin) == []
        return tx.one("SELECT count(*) AS n FROM t")

    assert database.transact(work) == {"n": 2}
    assert names(admin) == ["a", "b"]


def test_statements_sent_with_commit_run_last_and_in_order(database, admin):
    def work(tx):
        tx.execute_at_the_end("INSERT INTO t (name) SELECT 'b' || count(*) FROM t")
        tx.execute_at_the_end("INSERT INTO t (name) SELECT %(prefix)s || count(*) FROM t", prefix="c;%")
        tx.execute(INSERT)
        return tx.one("SELECT count(*) AS n FROM t")

    for _ in range(2):  # the first run prepares, the second reuses
        assert database.transact(work) == {"n": 1}
        assert names(admin) == ["a", "b1", "c;%2"]
        admin("DELETE FROM t")


def test_a_transaction_may_consist_of_statements_sent_with_commit(database, admin):
    def work(tx):
        tx.execute_at_the_end(INSERT)
        tx.execute_at_the_end("INSERT INTO t (id) VALUES (NULL)")

    with pytest.raises(psycopg2.errors.NotNullViolation):
        database.transact(work)
    assert names(admin) == [], "they are one transaction"
    database.transact(lambda tx: tx.execute_at_the_end(INSERT))
    assert names(admin) == ["a"]


def test_autocommitted_statement_cannot_queue_another_for_commit(database, admin):
    """There is no COMMIT to send it with, so it would be lost."""
    with pytest.raises(TypeError, match="no COMMIT"):
        database.statement(lambda tx: tx.execute_at_the_end(INSERT))
    assert names(admin) == []


def test_every_statement_is_sent_before_a_crash_point_at_commit(database, monkeypatch):
    monkeypatch.setattr(moments, "separates_commits", lambda: True)

    def work(tx):
        tx.execute_at_the_end(INSERT)
        return tx.one("SELECT count(*) AS n FROM t")

    assert database.transact(work) == {"n": 1}


def test_error_in_a_statement_sent_with_commit_rolls_back_and_keeps_the_connection(database, admin):
    def work(tx):
        tx.execute(INSERT)
        tx.execute_at_the_end("INSERT INTO t (id) VALUES (NULL)")

    before = database.one(PID)
    with pytest.raises(psycopg2.errors.NotNullViolation):
        database.transact(work)
    assert names(admin) == []
    assert database.one(PID) == before


@pytest.mark.parametrize("error", [ValueError("a mistake"), ApiError("a refusal"), KeyboardInterrupt()])
def test_exception_rolls_back_and_keeps_the_connection(database, admin, error):
    def work(tx):
        tx.execute(INSERT)
        raise error

    before = database.one(PID)
    with pytest.raises(type(error)):
        database.transact(work)
    assert names(admin) == []
    assert database.one(PID) == before


def test_a_mistake_in_a_statement_is_raised_unchanged(database):
    with pytest.raises(psycopg2.errors.SyntaxError):
        database.one("SELEC 1")
    with pytest.raises(psycopg2.errors.NotNullViolation):
        database.transact(lambda tx: tx.execute("INSERT INTO t (id) VALUES (NULL)"))


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECT nothing FROM t"])
def test_an_undefined_table_or_column_is_transient(database, statement):
    with pytest.raises(DatabaseUnavailable):
        database.one(statement)


def test_a_single_statement_commits_by_itself(database, admin):
    row = database.one("INSERT INTO t (name) VALUES (%(name)s) RETURNING name", name="50 %")
    assert row == {"name": "50 %"}
    assert names(admin) == ["50 %"]
    assert database.one("DELETE FROM t") is None
    assert database.one("SELECT * FROM t") is None
    assert database.all("SELECT * FROM t") == []


def test_rows_are_dicts_with_ids_as_text_and_times_in_utc(database, admin):
    admin("ALTER DATABASE holdfast SET timezone = 'Asia/Tokyo'")
    database.one(INSERT)
    (row,) = database.all("SELECT * FROM t")
    admin("ALTER DATABASE holdfast RESET timezone")
    assert type(row["id"]) is str
    assert row["id"] == row["id"].lower()
    assert row["at"].tzinfo is not None
    assert row["at"].utcoffset() == UTC.utcoffset(None)


def test_limits_are_set_on_every_connection(database):
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name", "TimeZone")
    found = [database.one(f"SELECT current_setting('{name}') AS value")["value"] for name in names]
    assert found == ["5s", "2s", "10s", "test", "UTC"]


# Conflicts


def a_conflict(times, counter, sqlstate="40001"):
    """Return work that fails with a conflict `times` times, then succeeds."""

    def work(tx):
        tx.execute(INSERT)
        counter.append(1)
        if len(counter) <= times:
            tx.execute(RAISE.format(sqlstate))
        return "done"

    return work


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_conflict_repeats_the_whole_transaction(database, admin, sqlstate):
    runs = []
    assert database.transact(a_conflict(3, runs, sqlstate)) == "done"
    assert len(runs) == 4
    assert names(admin) == ["a"]


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_fourth_conflict_raises_database_busy(database, admin, sqlstate):
    runs = []
    with pytest.raises(DatabaseBusy):
        database.transact(a_conflict(4, runs, sqlstate))
    assert len(runs) == 4
    assert names(admin) == []


def test_conflict_in_a_statement_sent_with_commit_repeats_the_transaction(database, admin):
    runs = []

    def work(tx):
        runs.append(tx.execute(INSERT))
        tx.execute_at_the_end(RAISE.format("40001") if len(runs) < 3 else "SELECT 1")

    database.transact(work)
    assert len(runs) == 3
    assert names(admin) == ["a"]


def test_conflict_at_commit_repeats_the_transaction(database, admin):
    admin(
        "CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$;"
        " CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION conflict()"
    )
    runs = []
    with pytest.raises(DatabaseBusy):
        database.transact(a_conflict(0, runs))
    assert len(runs) == 4


def test_both_transactions_of_a_deadlock_commit(database, admin):
    admin("INSERT INTO t (name) VALUES ('a'), ('b')")
    both_hold_one = threading.Barrier(2)

    def rename(first, second):
        runs = []

        def work(tx):
            runs.append(1)
            tx.execute("UPDATE t SET name = name || '!' WHERE name LIKE %(name)s", name=f"{first}%")
            if len(runs) == 1:
                both_hold_one.wait(10)
            tx.execute("UPDATE t SET name = name || '!' WHERE name LIKE %(name)s", name=f"{second}%")

        database.transact(work)

    at_once([partial(rename, "a", "b"), partial(rename, "b", "a")])
    assert names(admin) == ["a!!", "b!!"]


@pytest.fixture
def locked_table(own_server, admin):
    """Another session holds the lock of the table `t`."""
    with closing(psycopg2.connect(own_server.url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE t")
        yield other


@pytest.mark.usefixtures("locked_table")
def test_lock_timeout_is_not_repeated(new_database, monkeypatch):
    monkeypatch.setattr(lock_wait, "LOCK_WAIT_S", 0.05)
    runs = []

    def work(tx):
        runs.append(1)
        tx.execute("LOCK TABLE t")

    with pytest.raises(RowsLocked):
        new_database().transact(work)
    assert len(runs) == 1


@pytest.mark.usefixtures("locked_table")
def test_lock_timeout_of_a_single_statement_is_not_repeated(new_database, monkeypatch):
    monkeypatch.setitem(sessions.LIMITS, "lock_timeout", "50ms")
    monkeypatch.setattr(lock_wait, "LOCK_WAIT_S", 0.05)
    runs = []
    with pytest.raises(RowsLocked):
        new_database().statement(lambda tx: (runs.append(1), tx.execute(INSERT)))
    assert len(runs) == 1


def test_statements_of_one_call_share_one_lock_timeout(database):
    limit = "SELECT setting::integer AS ms FROM pg_settings WHERE name = 'lock_timeout'"

    def work(tx):
        before = tx.one(limit)["ms"]
        tx.one("SELECT pg_sleep(0.2)")
        return before - tx.one(limit)["ms"]

    assert database.transact(work) >= 200


@pytest.mark.parametrize("limit", ["1s", "1000ms"])
def test_shorter_lock_timeout_of_the_session_holds_in_transactions(own_server, limit):
    setting = "SELECT setting::integer AS ms FROM pg_settings WHERE name = 'lock_timeout'"

    def work(tx):
        before = tx.one(setting)["ms"]
        tx.one("SELECT pg_sleep(0.2)")
        return before, tx.one(setting)["ms"]

    with closing(db.Database(own_server.url, name="test", size=1, limits={"lock_timeout": limit})) as database:
        before, after = database.transact(work)
    assert before == 1000
    assert after <= 800


def test_lock_timeout_ends_with_its_transaction(new_database, monkeypatch):
    monkeypatch.setattr(lock_wait, "LOCK_WAIT_S", 0.05)
    database = new_database(size=1)
    assert database.transact(lambda tx: tx.one("SHOW lock_timeout")) == {"lock_timeout": "50ms"}
    assert database.one("SHOW lock_timeout") == {"lock_timeout": "2s"}


# Too few connections, and none


def test_wait_for_a_free_connection_is_bounded(new_database, monkeypatch):
    monkeypatch.setattr(db, "POOL_WAIT_S", 0.05)
    database = new_database(size=1)

    def work(tx):
        with ThreadPoolExecutor(1) as another, pytest.raises(DatabaseBusy):
            another.submit(database.one, "SELECT 1").result(10)
        return tx.one("SELECT 1 AS one")

    assert database.transact(work) == {"one": 1}
    assert database.one("SELECT 1 AS one") == {"one": 1}


def test_more_threads_than_connections_all_finish(new_database, admin):
    database = new_database(size=2)
    at_once([partial(database.transact, lambda tx: tx.execute(INSERT))] * 12)
    assert len(names(admin)) == 12
    assert admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'")[0][0] <= 2


def test_no_connection_is_opened_before_the_first_statement(database, admin):
    assert admin("SELECT * FROM pg_stat_activity WHERE application_name = 'test'") == []
