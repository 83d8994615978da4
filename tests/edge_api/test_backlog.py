"""How far the orchestrators are behind, as one process of the Edge API sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.database.database import Database
from common.database.errors import DatabaseUnavailable
from edge_api import backlog as module
from edge_api.backlog import Backlog

Sql = Callable[..., list[dict[str, Any]]]
ENTRIES = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, due_at)
SELECT gen_random_uuid(), 'shop', gen_random_uuid(), '', gen_random_uuid(), 'a@b.example', 1, 'USD', 'r',
  'AWAITING_AUTHORIZATION', now() - %(age)s * interval '1 second'
FROM generate_series(1, %(entries)s) RETURNING id
"""


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=2)
    yield database
    database.close()


def test_no_backlog(database: Database) -> None:
    assert Backlog(database).age_s() == 0


def test_backlog_is_as_old_as_its_oldest_orders(database: Database, sql: Sql) -> None:
    sql(ENTRIES, age=100, entries=20)
    sql(ENTRIES, age=5, entries=20)
    assert Backlog(database).age_s() == pytest.approx(100, abs=20)


def test_few_orders_that_cannot_be_claimed_are_no_backlog(database: Database, sql: Sql) -> None:
    """Their rows are locked, for instance. They must not stop all sales."""
    sql(ENTRIES, age=3600, entries=10)
    sql(ENTRIES, age=5, entries=20)
    assert Backlog(database).age_s() == pytest.approx(5, abs=20)


def test_orders_that_wait_or_are_set_aside_are_no_backlog(database: Database, sql: Sql) -> None:
    sql(ENTRIES, age=-60, entries=20)
    for row in sql(ENTRIES, age=100, entries=20):
        sql("INSERT INTO set_aside_entries VALUES (%(id)s, 'why', now(), now() + interval '1 minute')", id=row["id"])
    assert Backlog(database).age_s() == 0


def test_it_is_measured_once_a_second(database: Database, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURE_EVERY_S", 3600)
    backlog = Backlog(database)
    assert backlog.age_s() == 0
    sql(ENTRIES, age=100, entries=20)
    assert backlog.age_s() == 0
    monkeypatch.setattr(module, "MEASURE_EVERY_S", 0)
    assert backlog.age_s() > 0


def test_nobody_waits_for_a_measurement_that_takes_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    backlog, begun, go = Backlog(database), threading.Event(), threading.Event()

    def measure(_: str) -> dict[str, float]:
        begun.set()
        assert go.wait(20)
        return {"seconds": 7}

    monkeypatch.setattr(database, "one", measure)
    slow = threading.Thread(target=backlog.age_s)
    slow.start()
    assert begun.wait(20)
    assert backlog.age_s() == 0
    go.set()
    slow.join()
    assert backlog._age_s == 7


def test_database_that_is_away_is_said_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise DatabaseUnavailable()

    monkeypatch.setattr(database, "one", fail)
    with pytest.raises(DatabaseUnavailable):
        Backlog(database).age_s()
