"""A heartbeat on a real PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from common.database.database import Database, Row
from common.heartbeats import heartbeat as module
from common.heartbeats.heartbeat import Heartbeat, Pool, State, read
from common.process.progress import Progress
from tests.waiting import eventually

Make = Callable[..., Heartbeat]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=2)
    yield database
    database.close()


@pytest.fixture
def make(url: str) -> Make:
    """`make("host:1:x")`: the heartbeat of a process with one loop."""

    def heartbeat(instance: str = "host:1:x", *, at: str = url, loop: Progress | None = None) -> Heartbeat:
        state = State(
            pools={"orders": Pool(2, 16)}, loops={"dispatcher": loop or Progress(1)}, open_breakers=["orders"]
        )
        return Heartbeat(at, "orchestrator", instance, lambda: state, threading.Event())

    return heartbeat


def instances(database: Database) -> list[str]:
    return [row["instance"] for row in read(database)]


def only(database: Database) -> Row:
    (row,) = read(database)
    return row


def test_row_says_how_the_process_is(make: Make, database: Database) -> None:
    make().beat()
    row = only(database)
    assert (row["process"], row["pools"]) == ("orchestrator", {"orders": {"in_flight": 2, "threads": 16}})
    assert (row["open_breakers"], row["is_listening"], row["is_silent"], row["hanging"]) == (
        ["orders"],
        None,
        False,
        [],
    )
    assert row["started_at"] <= row["seen_at"]
    assert row["loops"]["dispatcher"]["every_s"] == 1


def test_further_beats_keep_the_start(make: Make, database: Database) -> None:
    heartbeat = make()
    heartbeat.beat()
    first = only(database)
    heartbeat.beat()
    second = only(database)
    assert second["started_at"] == first["started_at"]
    assert second["seen_at"] > first["seen_at"]


@pytest.mark.parametrize(("seconds", "is_silent"), [(29, False), (31, True)])
def test_process_that_has_not_been_seen_for_30_s_is_silent(
    make: Make, database: Database, seconds: int, is_silent: bool
) -> None:
    make().beat()
    database.all("UPDATE process_heartbeats SET seen_at = now() - %(s)s * interval '1 s'", s=seconds)
    assert only(database)["is_silent"] == is_silent


@pytest.mark.parametrize(("ago_s", "hanging"), [(39, []), (41, ["dispatcher"])])
def test_loop_without_progress_hangs_though_the_process_beats(
    make: Make, database: Database, ago_s: float, hanging: list[str]
) -> None:
    """Beyond the 10 s that it may wait."""
    loop = Progress(10)
    loop._at -= ago_s
    make(loop=loop).beat()
    row = only(database)
    assert (row["is_silent"], row["hanging"]) == (False, hanging)


def test_rows_of_processes_that_are_silent_for_a_day_are_deleted(make: Make, database: Database) -> None:
    for instance, hours in (("yesterday", 23), ("long ago", 25), ("host:1:x", 25)):
        make(instance).beat()
        database.all(
            "UPDATE process_heartbeats SET seen_at = now() - %(h)s * interval '1 h' WHERE instance = %(instance)s",
            h=hours, instance=instance,
        )  # fmt: skip
    make().beat()
    assert sorted(instances(database)) == ["host:1:x", "yesterday"]


def test_row_of_a_process_that_nobody_has_replaced_stays(make: Make, database: Database) -> None:
    for instance in ("dead", "host:1:x"):
        make(instance).beat()
    database.all("UPDATE process_heartbeats SET started_at = now() - interval '3 d', seen_at = now() - interval '2 d'")
    make().beat()
    assert sorted(instances(database)) == ["dead", "host:1:x"]
    for _ in range(2):
        make("successor").beat()
    assert sorted(instances(database)) == ["host:1:x", "successor"]


def test_end_deletes_only_its_own_row_and_no_beat_follows(make: Make, database: Database) -> None:
    stopped = make()
    for heartbeat in (stopped, make("another")):
        heartbeat.beat()
    stopped.end()
    stopped.beat()
    assert instances(database) == ["another"]


def test_database_that_is_down_is_logged_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    heartbeat = make(at="postgresql://holdfast@127.0.0.1:1/none")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            heartbeat.beat()
        heartbeat.end()
    assert caplog.text.count("cannot note that this process lives") == 1


def test_loop_beats_until_it_is_stopped(make: Make, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    heartbeat = make()
    thread = threading.Thread(target=heartbeat.run, daemon=True)
    thread.start()
    first = eventually(lambda: read(database))[0]["seen_at"]
    eventually(lambda: only(database)["seen_at"] > first)
    heartbeat._stopping.set()
    thread.join(20)
    assert not thread.is_alive()


def test_state_that_cannot_be_read_ends_nothing_and_is_logged_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    def state() -> State:
        raise KeyError("a fault in the code")

    heartbeat = Heartbeat(url, "orchestrator", "host:1:x", state, threading.Event())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            heartbeat.beat()
    assert caplog.text.count("cannot note that this process lives") == 1
