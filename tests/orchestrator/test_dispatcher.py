"""The polling loop and its threads, on a real ledger. The tests decide what a saga does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from common.calls.client import Nothing, Yes
from common.database.database import Database, Row
from common.database.errors import DatabaseUnavailable
from domain.states import Status
from orchestrator.dispatcher import Dispatcher
from orchestrator.engine import Engine
from orchestrator.saga import RetryPolicy, Saga
from orchestrator.store import Store
from tests.waiting import eventually

Make = Callable[[], str]
Read = Callable[[str], Row]
NEVER_S = 3600.0


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[Dispatcher]:
    thread = threading.Thread(target=dispatcher.run, daemon=True)
    thread.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        thread.join()


def walk(store: Store, ask: Callable[[Saga], object] = lambda _: Yes({})) -> Callable[[Saga], Saga]:
    policy = RetryPolicy(base_s=0.01, factor=1, jitter=0)
    return Engine(ask, store.save, store.release, policy).run  # type: ignore[arg-type]


def is_completed(row: Read, *ids: str) -> Callable[[], bool]:
    return lambda: all(row(id_)["status"] == Status.COMPLETED for id_ in ids)


class TestClaiming:
    def test_claims_no_more_than_there_are_free_threads(
        self, store: Store, authorized: Make, database: Database
    ) -> None:
        for _ in range(5):
            authorized()
        go, begun = threading.Event(), threading.Semaphore(0)

        def hold(saga: Saga) -> Saga:
            begun.release()
            go.wait(10)
            return saga

        dispatcher = Dispatcher(store, hold, threads=2, poll_interval_s=NEVER_S)
        assert (dispatcher.run_once(), dispatcher.run_once()) == (2, 0)
        assert dispatcher.in_flight == 2
        assert database.one("SELECT count(*) AS n FROM order_ledger WHERE claimed_by IS NOT NULL") == {"n": 2}
        go.set()
        dispatcher.stop()

    def test_backlog_is_drained_without_waiting_for_the_poll(self, store: Store, authorized: Make, row: Read) -> None:
        ids = [authorized() for _ in range(12)]
        with running(Dispatcher(store, walk(store), threads=2, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, *ids))

    def test_twelve_slow_calls_run_in_parallel(self, store: Store, authorized: Make, row: Read) -> None:
        """They all wait for each other, so in sequence they would never end."""
        ids = [authorized() for _ in range(12)]
        together = threading.Barrier(12, timeout=20)

        def ask(_: Saga) -> Yes:
            together.wait()
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=12, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, *ids))

    def test_hanging_call_does_not_delay_other_orders(self, store: Store, authorized: Make, row: Read) -> None:
        hanging, ids, go = authorized(), [authorized() for _ in range(6)], threading.Event()

        def ask(saga: Saga) -> Yes:
            if saga.id == hanging:
                go.wait(20)
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=2, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, *ids))
            assert row(hanging)["status"] == Status.AUTHORIZED
            go.set()


class TestWaking:
    def test_wake_is_enough(self, store: Store, authorized: Make, row: Read) -> None:
        with running(Dispatcher(store, walk(store), threads=1, poll_interval_s=NEVER_S)) as dispatcher:
            id_ = authorized()
            dispatcher.wake()
            eventually(is_completed(row, id_))

    def test_poll_finds_orders_without_a_notification(self, store: Store, authorized: Make, row: Read) -> None:
        with running(Dispatcher(store, walk(store), threads=1, poll_interval_s=0.05)):
            id_ = authorized()
            eventually(is_completed(row, id_))

    def test_retry_runs_when_it_is_due_not_at_the_next_poll(self, store: Store, authorized: Make, row: Read) -> None:
        id_, answers = authorized(), [Nothing("x"), Nothing("x")]

        def ask(_: Saga) -> Yes | Nothing:
            return answers.pop() if answers else Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=1, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, id_))

    def test_retry_of_another_orchestrator_runs_when_it_is_due(
        self, store: Store, other_store: Store, authorized: Make, row: Read
    ) -> None:
        id_ = authorized()
        (saga,) = other_store.claim(1)
        other_store.save(saga, replace(saga, retry_in_s=0.2))
        with running(Dispatcher(store, walk(store), threads=1, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, id_))


class TestTrouble:
    def test_failing_entry_does_not_stop_the_others(self, store: Store, authorized: Make, row: Read) -> None:
        bad, ids = authorized(), [authorized() for _ in range(5)]

        def ask(saga: Saga) -> Yes:
            if saga.id == bad:
                raise ValueError("bad row")
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=2, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, *ids))
            eventually(lambda: row(bad)["needs_attention_at"])
        assert (row(bad)["claimed_by"], row(bad)["attention_reason"]) == (None, "ValueError: bad row")

    def test_lost_connection_releases_the_claim(self, store: Store, authorized: Make, row: Read) -> None:
        id_, errors = authorized(), [DatabaseUnavailable()]

        def ask(saga: Saga) -> Yes:
            if errors:
                raise errors.pop()
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=2, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, id_))

    def test_claim_whose_answer_was_lost_is_released(self, store: Store, authorized: Make, row: Read) -> None:
        ids, losses = [authorized(), authorized()], [DatabaseUnavailable()]

        class Lossy(Store):
            def claim(self, limit: int) -> list[Saga]:
                sagas = super().claim(limit)
                if losses:
                    raise losses.pop()
                return sagas

        lossy = Lossy(store.database, "me", 30)
        with running(Dispatcher(lossy, walk(store), threads=2, poll_interval_s=0.05)):
            eventually(is_completed(row, *ids))

    def test_other_claims_stay_when_one_is_released(self, store: Store, authorized: Make, row: Read) -> None:
        lost, kept = authorized(), authorized()
        errors, go = [DatabaseUnavailable()], threading.Event()

        def ask(saga: Saga) -> Yes:
            if saga.id == kept:
                go.wait(10)
            elif errors:
                raise errors.pop()
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=2, poll_interval_s=NEVER_S)):
            eventually(is_completed(row, lost))
            assert (row(kept)["claimed_by"], row(kept)["claim_number"]) == ("me", 2)
            go.set()
            eventually(is_completed(row, kept))

    def test_looks_less_and_less_often_at_unclaimable_entries(self, store: Store, monkeypatch) -> None:
        """For example, they are locked or the database is read-only: a busy loop would not help."""
        pauses: list[float] = []
        dispatcher = Dispatcher(store, walk(store), threads=1, poll_interval_s=NEVER_S)
        monkeypatch.setattr(store, "claim", lambda limit: [])
        monkeypatch.setattr(store, "next_due_in", lambda: 0.0)

        def wait(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 9:
                dispatcher.stop()

        monkeypatch.setattr(dispatcher._woken, "wait", wait)
        dispatcher.run()
        assert pauses == pytest.approx([0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1])

    def test_claim_is_retried_when_the_database_is_down(self, store: Store, authorized: Make, row: Read) -> None:
        refusals = [DatabaseUnavailable(), DatabaseUnavailable()]

        class Flaky(Store):
            def claim(self, limit: int) -> list[Saga]:
                if refusals:
                    raise refusals.pop()
                return super().claim(limit)

        id_ = authorized()
        flaky = Flaky(store.database, "me", 30)
        with running(Dispatcher(flaky, walk(store), threads=1, poll_interval_s=0.05)):
            eventually(is_completed(row, id_))

    def test_entries_being_claimed_at_shutdown_are_processed(self, store: Store, authorized: Make) -> None:
        """They are not left to their leases."""
        authorized()
        claiming, go, ran = threading.Event(), threading.Event(), []

        class Slow(Store):
            def claim(self, limit: int) -> list[Saga]:
                claiming.set()
                go.wait(10)
                return super().claim(limit)

        def run(saga: Saga) -> Saga:
            ran.append(saga.id)
            return saga

        dispatcher = Dispatcher(Slow(store.database, "me", 30), run, threads=2, poll_interval_s=NEVER_S)
        looking = threading.Thread(target=dispatcher.run, daemon=True)
        looking.start()
        claiming.wait(10)
        stopper = threading.Thread(target=dispatcher.stop, daemon=True)
        stopper.start()
        go.set()
        stopper.join()
        looking.join()
        assert len(ran) == 1
        authorized()
        assert dispatcher.run_once() == 0, "claims no more"

    def test_stop_waits_for_entries_in_flight_and_claims_no_more(
        self, store: Store, authorized: Make, row: Read
    ) -> None:
        first, begun, go = authorized(), threading.Event(), threading.Event()

        def ask(_: Saga) -> Yes:
            begun.set()
            go.wait(10)
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=1, poll_interval_s=0.01)) as dispatcher:
            begun.wait(10)
            second = authorized()
            stopper = threading.Thread(target=dispatcher.stop, daemon=True)
            stopper.start()
            eventually(dispatcher.stopping.is_set)
            go.set()
            stopper.join()
            assert dispatcher.in_flight == 0
        assert row(first)["status"] == Status.COMPLETED
        assert row(second)["claimed_by"] is None
