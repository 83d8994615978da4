"""Lost connections; a server that restarts, freezes or is read-only; processes that fork."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from common.database import database as module
from common.database import pool, sessions, watch
from common.database.errors import CommitOutcomeUnknown, DatabaseUnavailable
from tests.at_once import at_once
from tests.common.database.relay import Relay
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
INSERT = "INSERT INTO t (name) VALUES ('a')"
COUNT = "SELECT count(*) FROM t"


def pid(database):
    return database.one("SELECT pg_backend_pid() AS pid")["pid"]


def terminate(admin, pid):
    """Terminate a backend and wait until it is gone."""
    assert admin("SELECT pg_terminate_backend(%s, 10000)", pid) == [(True,)]


def hold_connections(database, count):
    """Use this many connections at once and return them to the pool. :returns: their backends"""
    calls = [partial(database.one, "SELECT pg_backend_pid() AS pid, pg_sleep(0.05)")] * count
    pids = {row["pid"] for row in at_once(calls)}
    assert len(pids) == count
    return pids


def failures_until_it_works(database):
    for failures in range(10):
        with suppress(DatabaseUnavailable):
            database.one("SELECT 1")
            return failures
    return None


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_at_most_one_statement_fails_after_a_restart(own_server, new_database, mode):
    database = new_database(size=3)
    hold_connections(database, 3)
    own_server.restart(mode)
    assert failures_until_it_works(database) in (0, 1)
    assert not [each for each in range(3) if failures_until_it_works(database)]


def test_a_terminated_connection_is_replaced(database, admin):
    before = pid(database)
    terminate(admin, before)
    assert failures_until_it_works(database) in (0, 1)
    assert pid(database) != before


def test_a_lost_connection_invalidates_the_idle_ones(new_database, admin):
    database = new_database(size=3)
    for each in hold_connections(database, 3):
        terminate(admin, each)
    assert failures_until_it_works(database) == 1
    hold_connections(database, 3)


def test_a_lost_connection_does_not_exceed_the_size_of_the_pool(new_database, admin):
    database = new_database(size=3)
    all_are_open = threading.Barrier(3)

    def work(is_victim, tx):
        mine = tx.one("SELECT pg_backend_pid() AS pid")["pid"]
        all_are_open.wait(10)
        if is_victim:
            terminate(admin, mine)
        all_are_open.wait(10)
        tx.one("SELECT 1")

    def transact(is_victim):
        with suppress(DatabaseUnavailable):
            database.transact(partial(work, is_victim))

    at_once([partial(transact, is_victim) for is_victim in (True, False, False)])
    hold_connections(database, 3)
    assert admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'") == [(3,)]


def test_a_dead_idle_connection_is_detected_before_use(database, admin, monkeypatch):
    monkeypatch.setattr(module, "IDLE_CHECK_S", -1)  # always check
    terminate(admin, pid(database))
    assert failures_until_it_works(database) == 0


def test_a_connection_lost_during_a_transaction_changes_nothing(database, admin):
    def work(tx):
        tx.execute(INSERT)
        terminate(admin, tx.one("SELECT pg_backend_pid() AS pid")["pid"])
        tx.execute(INSERT)

    with pytest.raises(DatabaseUnavailable) as caught:
        database.transact(work)
    assert type(caught.value) is DatabaseUnavailable
    assert admin(COUNT) == [(0,)]
    assert failures_until_it_works(database) == 0


def test_an_error_of_ours_survives_a_lost_connection(database, admin):
    def work(tx):
        terminate(admin, tx.one("SELECT pg_backend_pid() AS pid")["pid"])
        raise KeyError("raised by the work")

    with pytest.raises(KeyError, match="raised by the work"):
        database.transact(work)
    assert failures_until_it_works(database) == 0


def test_a_transaction_idle_for_too_long_is_unavailable(new_database, admin, monkeypatch):
    monkeypatch.setitem(sessions.LIMITS, "idle_in_transaction_session_timeout", "20ms")
    database = new_database()

    def work(tx):
        mine = tx.one("SELECT pg_backend_pid() AS pid")["pid"]
        eventually(lambda: admin("SELECT pid FROM pg_stat_activity WHERE pid = %s", mine) == [])
        tx.one("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        database.transact(work)
    assert database.one("SELECT 1 AS one") == {"one": 1}


def test_a_statement_that_takes_too_long_is_unavailable(new_database, monkeypatch):
    monkeypatch.setitem(sessions.LIMITS, "statement_timeout", "20ms")
    with pytest.raises(DatabaseUnavailable):
        new_database().one("SELECT pg_sleep(30)")


def test_a_connection_lost_in_commit_leaves_the_outcome_unknown(database, admin):
    admin(
        "CREATE OR REPLACE FUNCTION terminate() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(30); RETURN NULL; END $$;"
        " CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION terminate()"
    )
    runs = []
    with pytest.raises(CommitOutcomeUnknown):
        database.transact(lambda tx: runs.append(tx.execute(INSERT)))
    assert runs == [1]
    assert failures_until_it_works(database) == 0


def test_a_change_may_be_saved_although_the_answer_to_commit_is_lost(own_server, new_database, admin):
    folder, passfile = (parse_qs(urlsplit(own_server.url).query)[name][0] for name in ("host", "passfile"))
    with closing(Relay(f"{folder}/.s.PGSQL.5432", lose_answer_to=b"COMMIT")) as relay:
        url = f"postgresql://holdfast@127.0.0.1:{relay.port}/holdfast?passfile={passfile}"
        database = new_database(url=url)
        runs = []
        with pytest.raises(CommitOutcomeUnknown):
            database.transact(lambda tx: runs.append(tx.execute(INSERT)))
    assert runs == [1]
    assert admin(COUNT) == [(1,)]


def test_a_read_only_server_is_unavailable_until_it_writes_again(new_database, admin):
    admin("ALTER DATABASE holdfast SET default_transaction_read_only = on")
    try:
        database = new_database()
        assert database.one("SELECT 1 AS one") == {"one": 1}
        with pytest.raises(DatabaseUnavailable):
            database.one(INSERT)
        with pytest.raises(DatabaseUnavailable):
            database.transact(lambda tx: tx.execute(INSERT))
    finally:
        admin("ALTER DATABASE holdfast RESET default_transaction_read_only")
    database.one(INSERT)
    database.transact(lambda tx: tx.execute(INSERT))
    assert admin(COUNT) == [(2,)], "read-only connections are no longer used"


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/x", "postgresql://x@/x?host=/nowhere", "postgresql://no-such-host.invalid/x"]
)
def test_an_address_without_a_server_is_unavailable(new_database, url):
    database = new_database(url=url)
    with pytest.raises(DatabaseUnavailable):
        database.one("SELECT 1")
    assert not database.ping()


def test_ping_is_false_without_a_database(own_server, new_database):
    assert new_database().ping()
    assert not new_database(url=own_server.url.replace("/holdfast?", "/nowhere?")).ping()


def test_ping_needs_no_free_connection(new_database):
    database = new_database(size=1)
    assert database.transact(lambda tx: database.ping())


def test_ping_of_a_silent_address_is_bounded(new_database):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not new_database(url=f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x").ping(timeout=0.1)


def test_ping_of_a_frozen_server_is_bounded(own_server, new_database):
    database = new_database()
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        assert not database.ping(timeout=0.1)
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    eventually(lambda: database.ping(timeout=20))


def test_ping_is_false_at_once_after_a_lost_connection(own_server, new_database):
    database = new_database()
    backend = pid(database)
    assert database.ping()
    os.kill(own_server.pid, signal.SIGSTOP)  # no new connection
    try:
        os.kill(backend, signal.SIGTERM)
        with pytest.raises(DatabaseUnavailable):
            database.one("SELECT 1 FROM pg_sleep(10)")
        assert not database.ping(timeout=0.1)
    finally:
        os.kill(own_server.pid, signal.SIGCONT)


def test_connections_of_a_burst_are_closed_when_they_have_been_idle(new_database, monkeypatch):
    monkeypatch.setattr(pool, "CLOSE_IDLE_S", 0.0)
    database = new_database(size=2)
    hold_connections(database, 2)
    assert len(database._pool._idle) == 1


@pytest.fixture
def quick_watch(monkeypatch):
    monkeypatch.setattr(watch, "LIMIT_S", 0.3)
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.05)


@pytest.fixture
def hang():
    """`hang(backend)`: freeze it. Its connection stays open, and the code under test must abandon it within 30 s."""
    timers = []

    def stop(backend):
        timers.append(threading.Timer(30, go_on, [backend]))
        timers[-1].start()
        os.kill(backend, signal.SIGSTOP)

    yield stop
    for timer in timers:
        was_given_up = timer.is_alive()
        timer.cancel()
        go_on(*timer.args)
        assert was_given_up


def go_on(backend):
    with suppress(ProcessLookupError):
        os.kill(backend, signal.SIGCONT)


def test_a_statement_on_a_frozen_server_is_abandoned(database, quick_watch, hang):
    hang(pid(database))
    with pytest.raises(DatabaseUnavailable):
        database.one("SELECT 1")
    assert database.one("SELECT 1 AS n") == {"n": 1}, "on another connection"


def test_a_frozen_idle_connection_is_replaced(database, quick_watch, hang, monkeypatch):
    monkeypatch.setattr(module, "IDLE_CHECK_S", 0)
    backend = pid(database)
    hang(backend)
    assert pid(database) != backend


def test_a_commit_on_a_frozen_server_may_be_saved(admin, database, quick_watch, hang):
    backend = pid(database)

    def work(tx):
        tx.execute(INSERT)
        hang(backend)

    with pytest.raises(CommitOutcomeUnknown):
        database.transact(work)
    go_on(backend)
    eventually(lambda: admin(COUNT) == [(1,)])


def test_a_rollback_on_a_frozen_server_is_abandoned(database, quick_watch, hang):
    backend = pid(database)

    def work(tx):
        tx.execute(INSERT)
        hang(backend)
        raise ValueError("roll back")

    with pytest.raises(ValueError, match="roll back"):
        database.transact(work)
    assert pid(database) != backend


def test_a_slow_statement_within_the_limit_is_not_abandoned(database):
    assert database.one("SELECT pg_sleep(1.5), 1 AS n")["n"] == 1


FORKED = """
import os, sys
from common.database.database import Database

PID = "SELECT pg_backend_pid() AS pid"
database = Database(sys.argv[1], name="forked", size=2)
before = database.one(PID)
child = os.fork()
if not child:
    mine = database.one(PID)
    assert mine != before and database.one(PID) == mine
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child failed"
assert database.one(PID) == before
"""


def test_a_forked_process_opens_its_own_connections(own_server):
    command = [sys.executable, "-c", FORKED, own_server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
