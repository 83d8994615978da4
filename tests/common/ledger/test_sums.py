"""Each event is counted exactly once, so the totals agree with the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from common.database.database import Database, Row, Transaction
from common.database.errors import TransientDatabaseError
from common.ledger import statements, sums
from common.ledger.statements import COUNTED
from ops.checks.events import RENUMBER
from tests.audit.small_world import SmallWorld
from tests.common.ledger.conftest import ARE_ALL_SHOWN
from tests.ops.old_orders import place_all_kinds
from tests.waiting import eventually

MINUTES = ", ".join(f"sum({name})::bigint AS {name}" for name in COUNTED)
TIMES = """
SELECT sum(extract(epoch FROM e.at - l.created_at))::float
FROM events e JOIN order_ledger l ON l.id = order_ledger_id WHERE type = 'order.completed'
"""
# In the place of the last statement of a transaction: it fails, or the connection is lost.
FAIL = "SELECT 1 / 0"
LOSE = "SELECT pg_terminate_backend(pg_backend_pid())"
Count = Callable[[], None]
SOME = 3
"""A batch that is smaller than any test's events."""


def place_everything(world: SmallWorld, prefix: str = "") -> None:
    """Completed, failed, declined and cancelled orders, and refunds that succeed and fail."""
    place_all_kinds(world, prefix)
    product = world.product()
    for number, token in enumerate(["tok_visa", "tok_visa", "fail_refund"]):
        order = world.order(product, key=f"{prefix}after sale {number}", token=token).json["order_ledger_id"]
        if not number:
            world.cancel(order)
        world.work()
        if number:
            world.refund(order, amount_cents=100)
            world.work()


@pytest.fixture
def count(database: Database) -> Count:
    """Count all events, once no transaction holds them back."""

    def run() -> None:
        eventually(lambda: database.all(ARE_ALL_SHOWN)[0]["yes"])
        while sums.count_next(database):
            pass

    return run


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "BATCH", SOME)


def totals(database: Database) -> Row:
    (row,) = database.all(statements.TOTALS)
    return {name: row[name] for name in COUNTED}


def of_all_minutes(database: Database) -> Row:
    (row,) = database.all(f"SELECT {MINUTES} FROM order_minutes")
    return row


@pytest.mark.usefixtures("small_batches")
def test_totals_and_minutes_agree_with_the_ledger(
    world: SmallWorld, database: Database, count: Count, in_the_books: Callable[[], Row]
) -> None:
    place_everything(world)
    count()
    assert all(in_the_books().values())  # there is something of each kind
    assert totals(database) == of_all_minutes(database) == in_the_books()
    place_everything(world, "again ")
    count()
    assert totals(database) == of_all_minutes(database) == in_the_books()


def test_times_of_completed_orders_are_those_of_the_ledger(world: SmallWorld, database: Database, count: Count) -> None:
    place_everything(world)
    world.sql("SET session_replication_role = replica")
    world.sql("UPDATE order_ledger SET created_at = created_at - interval '20 s' WHERE client_request_id = 'second'")
    world.sql("SET session_replication_role = origin")
    count()
    ((seconds,),) = world.sql(TIMES)
    (row,) = database.all(statements.TOTALS)
    assert row["duration_s"] == pytest.approx(seconds)
    assert sum(row["durations"]) == row["completed"]
    assert row["durations"][14] == 1  # 15 to 30 s


@pytest.mark.usefixtures("small_batches")
def test_transaction_that_breaks_off_counts_nothing(
    world: SmallWorld,
    database: Database,
    count: Count,
    in_the_books: Callable[[], Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place_everything(world)
    eventually(lambda: database.all(ARE_ALL_SHOWN)[0]["yes"])

    move = statements.MOVE_CURSOR
    for breaks, error in ((FAIL, psycopg2.Error), (LOSE, TransientDatabaseError)) * 2:
        monkeypatch.setattr(statements, "MOVE_CURSOR", breaks)
        with pytest.raises(error):
            sums.count_next(database)
        monkeypatch.setattr(statements, "MOVE_CURSOR", move)
        sums.count_next(database)
    count()
    assert totals(database) == of_all_minutes(database) == in_the_books()


@pytest.fixture
def late(url: str, world: SmallWorld) -> Iterator[Any]:
    """A transaction that has written an event, and is open."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        product = world.product()
        world.faults["authorize"] = ["request"]
        world.order(product, key="late")
        cursor.execute("UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED', failure_code = 'x', due_at = NULL,"
                       " claimed_by = NULL, claimed_until = NULL WHERE client_request_id = 'late'")  # fmt: skip
        yield connection


@pytest.mark.usefixtures("small_batches")
def test_event_that_commits_late_is_counted(
    late: Any, world: SmallWorld, database: Database, count: Count, in_the_books: Callable[[], Row]
) -> None:
    world.order(world.product(), key="younger")
    while sums.count_next(database):
        pass
    assert totals(database)["accepted"] == 0  # the younger one waits for the older transaction
    late.commit()
    count()
    assert totals(database)["declined"] == 1
    assert totals(database) == of_all_minutes(database) == in_the_books()


@pytest.mark.usefixtures("small_batches")
def test_two_processes_count_each_event_once(
    world: SmallWorld, url: str, database: Database, in_the_books: Callable[[], Row]
) -> None:
    place_everything(world)
    eventually(lambda: database.all(ARE_ALL_SHOWN)[0]["yes"])
    wanted, barrier = in_the_books(), threading.Barrier(4)

    def keep() -> None:
        own = Database(url, name="test", size=1)
        barrier.wait()
        eventually(lambda: sums.count_next(own) == 0 and totals_or_none(own) == wanted)
        own.close()

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(keep) for _ in range(4)]:
            each.result()
    assert totals(database) == of_all_minutes(database) == wanted


def totals_or_none(database: Database) -> Row | None:
    return totals(database) if database.all(statements.TOTALS) else None


def test_nobody_waits_for_the_process_that_counts(world: SmallWorld, database: Database, count: Count) -> None:
    count()
    place_all_kinds(world)

    def while_locked(tx: Transaction) -> int:
        tx.execute(statements.LOCK)
        return sums.count_next(database)

    assert database.transact(while_locked) == 0
    count()
    assert totals(database)["completed"] == 2


def test_old_minutes_are_deleted_and_the_totals_stay(world: SmallWorld, database: Database, count: Count) -> None:
    place_all_kinds(world)
    count()
    before = totals(database)
    world.sql("UPDATE order_minutes SET minute = minute - interval '8 days 1 minute'")
    world.sql("INSERT INTO order_minutes (minute) VALUES (now() - interval '7 days 23 hours')")
    sums.delete_old(database)
    assert database.all("SELECT count(*) AS minutes FROM order_minutes") == [{"minutes": 1}]
    assert totals(database) == before


def test_last_audits_are_kept(world: SmallWorld, database: Database) -> None:
    world.sql("INSERT INTO audit_runs (at, took_ms, healthy, violations, rows_found) SELECT"
              " now() - n * interval '1 hour', n, true, '{}', 0 FROM generate_series(1, 1003) n")  # fmt: skip
    sums.delete_old(database)
    assert database.all("SELECT count(*) AS kept, max(took_ms) AS oldest FROM audit_runs") == [
        {"kept": 1000, "oldest": 1000}
    ]


@pytest.mark.usefixtures("small_batches")
def test_counting_goes_on_after_the_events_were_renumbered(
    world: SmallWorld,
    database: Database,
    count: Count,
    in_the_books: Callable[[], Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The books were restored on a server that has run fewer transactions. Some events were counted already."""
    monkeypatch.setattr(sums, "BATCH_OF_RENUMBERED", 4)
    for era in ("first ", "second "):
        place_everything(world, era)
        eventually(lambda: database.all(ARE_ALL_SHOWN)[0]["yes"])
        for _ in range(3):
            sums.count_next(database)
        assert totals(database) != in_the_books()
        as_of_another_server(world)
        for statement in RENUMBER.split("; "):
            world.sql(statement)
        place_all_kinds(world, f"{era}after ")
        count()
        assert totals(database) == of_all_minutes(database) == in_the_books()


def as_of_another_server(world: SmallWorld) -> None:
    """Number the events as a server that has run many more transactions would have."""
    shift = 9_000_000_000
    world.sql("SET session_replication_role = replica")
    new = f"xid = (xid::text::bigint + {shift})::text::xid8"
    world.sql(f"UPDATE events SET {new}, id = 'evt_' || lpad(to_hex(xid::text::bigint + {shift}), 11, '0')"
              " || right(id, 13) WHERE xid > '3'")  # fmt: skip
    world.sql(f"UPDATE order_totals SET {new}, event_id = COALESCE((SELECT max(id) FROM events WHERE (events.xid,"
              f" events.position) <= ((order_totals.xid::text::bigint + {shift})::text::xid8, order_totals.position)),"
              " '')")  # fmt: skip
    world.sql("SET session_replication_role = origin")


def test_event_of_a_type_that_is_not_known_is_passed_over(
    world: SmallWorld, database: Database, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer release writes it while this one still counts."""
    monkeypatch.delitem(sums.COUNTED_AS, "order.authorized")
    world.order(world.product())
    world.work()
    count()
    assert (totals(database)["accepted"], totals(database)["completed"]) == (0, 1)
