"""What the heartbeat of an orchestrator says about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest

from common.database.database import Database, Row
from common.heartbeats import heartbeat
from common.heartbeats.heartbeat import read
from common.process.settings import Settings
from orchestrator.__main__ import Orchestrator
from orchestrator.gateway_changes import GatewayChanges
from orchestrator.listener import Listener
from tests.severable import Severable
from tests.waiting import eventually

LOOPS = {"dispatcher of orders", "dispatcher of refunds", "listener", "gateway changes", "order sums"}
NOWHERE = "http://127.0.0.1:1"
Load = Callable[..., Settings]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.05)


@contextmanager
def running(settings: Settings) -> Iterator[Orchestrator]:
    orchestrator, codes = Orchestrator(settings), []
    thread = threading.Thread(target=lambda: codes.append(orchestrator.run()), daemon=True)
    thread.start()
    try:
        yield orchestrator
    finally:
        orchestrator.threads.stop()
        thread.join(30)
    assert codes == [0]


def only(database: Database) -> Row:
    (row,) = eventually(lambda: read(database))
    return row


def test_row_shows_threads_loops_and_listening(settings: Load, database: Database) -> None:
    with running(settings(WORKER_THREADS="8")) as orchestrator:
        eventually(lambda: only(database)["is_listening"])
        row = only(database)
        idle = {"orders": {"in_flight": 0, "threads": 8}, "refunds": {"in_flight": 0, "threads": 2}}
        assert (row["instance"], row["pools"], set(row["loops"])) == (orchestrator.claimant, idle, LOOPS)
        assert (row["open_breakers"], row["hanging"]) == ([], [])
    assert read(database) == []


def test_every_loop_makes_progress(settings: Load, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.listener.PROVE_EVERY_S", 0.1)
    monkeypatch.setattr("orchestrator.order_sums.EVERY_S", 0.1)
    with running(settings(POLL_INTERVAL_S="0.05", GATEWAY_POLL_INTERVAL_S="1", PAYMENTS_SERVICE_URL=NOWHERE)):
        first = only(database)["loops"]

        def progressed() -> bool:
            loops = only(database)["loops"]
            return all(loops[name]["progressed_at"] > first[name]["progressed_at"] for name in LOOPS)

        eventually(progressed)


def test_hanging_dispatcher_is_seen_though_the_process_beats(
    settings: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HANGS_AFTER_S", 1)
    with running(settings(POLL_INTERVAL_S="0.05")) as orchestrator:
        with orchestrator._orders._claiming:
            eventually(lambda: only(database)["hanging"] == ["dispatcher of orders"])
            assert not only(database)["is_silent"]
        eventually(lambda: only(database)["hanging"] == [])


def test_lost_listen_is_seen(settings: Load, database: Database, url: str) -> None:
    way = Severable(url)
    try:
        with running(settings(DATABASE_DIRECT_URL=way.url)):
            eventually(lambda: only(database)["is_listening"])
            way.stop()
            eventually(lambda: not only(database)["is_listening"])
            way.start()
            eventually(lambda: only(database)["is_listening"])
    finally:
        way.stop()


def test_listen_that_hears_nothing_counts_as_down(
    settings: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler in transaction mode."""
    monkeypatch.setattr(Listener, "_hears", lambda *_: False)
    with running(settings()) as orchestrator:
        eventually(orchestrator._listener.is_listening.is_set)
        before = only(database)["seen_at"]
        eventually(lambda: only(database)["seen_at"] > before)
        assert only(database)["is_listening"] is False
        assert not orchestrator.is_hearing()  # the metric


def test_open_breaker_is_seen(settings: Load, database: Database, authorized: Callable[[], str]) -> None:
    for _ in range(10):
        authorized()
    down = settings(ORDERS_SERVICE_URL=NOWHERE, RETRY_BASE_S="0.2", POLL_INTERVAL_S="0.05")
    with running(down):
        eventually(lambda: "orders" in only(database)["open_breakers"])


def test_heartbeat_that_the_database_holds_up_disturbs_no_order(
    settings: Load, database: Database, url: str, authorized: Callable[[], str], row: Callable[[str], Row]
) -> None:
    id_ = authorized()
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE process_heartbeats")
        with running(settings(ORDERS_SERVICE_URL=NOWHERE, RETRY_BASE_S="0.2")):
            eventually(lambda: row(id_)["retry_count"] > 0)
            other.rollback()
            eventually(lambda: read(database))


def test_process_whose_thread_died_leaves_its_row(
    settings: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: GatewayChanges) -> None:
        eventually(lambda: read(database))
        raise RuntimeError("out of luck")

    monkeypatch.setattr(GatewayChanges, "run", die)
    assert Orchestrator(settings()).run() == 1
    assert len(read(database)) == 1
