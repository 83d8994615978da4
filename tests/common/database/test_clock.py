"""The database's time, on a host whose own clock is an hour off."""

from contextlib import closing

import psycopg2
import pytest

from common.database import clock
from common.database.clock import DatabaseClock
from common.database.database import Database

HOUR_S = 3600
real_time = clock.time.time


@pytest.fixture(autouse=True)
def wrong_clock(monkeypatch):
    monkeypatch.setattr(clock.time, "time", lambda: real_time() + HOUR_S)


def database_time(url):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float")
        return cursor.fetchone()[0]


def test_time_is_the_databases(url):
    with closing(Database(url, name="test", size=1)) as database:
        now = DatabaseClock(database)
        before = database_time(url)
        assert before - 1 <= now() <= database_time(url) + 1


def test_host_clock_counts_until_the_database_answers():
    with closing(Database("postgresql://127.0.0.1:1/nowhere", name="test", size=1)) as database:
        assert abs(DatabaseClock(database)() - real_time() - HOUR_S) < HOUR_S / 2


def test_database_is_asked_once_a_minute(url, monkeypatch):
    elapsed, asked = [1000.0], []
    monkeypatch.setattr(clock, "elapsed", lambda: elapsed[0])
    with closing(Database(url, name="test", size=1)) as database:
        monkeypatch.setattr(database, "all", lambda sql: asked.append(sql) or [{"now": 5000.0 + elapsed[0]}])
        now = DatabaseClock(database)
        for elapsed[0] in (1000.0, 1030.0, 1059.0):
            assert now() == 5000.0 + elapsed[0]
        assert len(asked) == 1
        elapsed[0] = 1060.0
        now()
        assert len(asked) == 2


@pytest.mark.skipif(not hasattr(clock.time, "CLOCK_BOOTTIME"), reason="the system does not count this time")
def test_time_in_which_the_machine_is_suspended_counts(url, monkeypatch):
    real_count, boot = clock.time.clock_gettime, clock.time.CLOCK_BOOTTIME
    with closing(Database(url, name="test", size=1)) as database:
        now = DatabaseClock(database)
        before = now()
        monkeypatch.setattr(clock.time, "clock_gettime", lambda id_: real_count(id_) + (30 if id_ == boot else 0))
        assert now() - before > 29
