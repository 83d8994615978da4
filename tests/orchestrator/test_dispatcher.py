"""The polling loop and its threads, on a real ledger; what a saga does is in the test's hand."""

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
FOR_EVER = 3600.0


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
    def test_nothing_is_claimed_that_has_no_free_thread(
        self, store: Store, authorized: Make, database: Database
    ) -> None:
        for _ in range(5):
            authorized()
        go, begun = threading.Event(), threading.Semaphore(0)

        def hold(saga: Saga) -> Saga:
            begun.release()
            go.wait(10)
            return saga

        dispatcher = Dispatcher(store, hold, threads=2, poll_interval_s=FOR_EVER)
        assert (dispatcher.run_once(), dispatcher.run_once()) == (2, 0)
        assert dispatcher.in_hand == 2
        assert database.one("SELECT count(*) AS n FROM order_ledger WHERE claimed_by IS NOT NULL") == {"n": 2}
        go.set()
        dispatcher.stop()

    def test_a_backlog_is_drained_without_waiting_for_the_poll(self, store: Store, authorized: Make, row: Read) -> None:
        ids = [authorized() for _ in range(12)]
        with running(Dispatcher(store, walk(store), threads=2, poll_interval_s=FOR_EVER)):
            eventually(is_completed(row, *ids))

    def test_twelve_slow_calls_run_side_by_side(self, store: Store, authorized: Make, row: Read) -> None:
        """They all wait for one another: one after the other would never end."""
        ids = [authorized() for _ in range(12)]
        together = threading.Barrier(12, timeout=20)

        def ask(_: Saga) -> Yes:
            together.wait()
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=12, poll_interval_s=FOR_EVER)):
            eventually(is_completed(row, *ids))

    def test_a_hanging_call_does_not_hold_up_the_others(self, store: Store, authorized: Make, row: Read) -> None:
        hanging, ids, go = authorized(), [authorized() for _ in range(6)], threading.Event()

        def ask(saga: Saga) -> Yes:
            if saga.id == hanging:
                go.wait(20)
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=2, poll_interval_s=FOR_EVER)):
            eventually(is_completed(row, *ids))
            assert row(hanging)["status"] == Status.AUTHORIZED
            go.set()


class TestWaking:
    def test_a_wake_is_enough(self, store: Store, authorized: Make, row: Read) -> None:
        with running(Dispatcher(store, walk(store), threads=1, poll_interval_s=FOR_EVER)) as dispatcher:
            id_ = authorized()
            dispatcher.wake()
            eventually(is_completed(row, id_))

    def test_the_poll_finds_what_nobody_told(self, store: Store, authorized: Make, row: Read) -> None:
        with running(Dispatcher(store, walk(store), threads=1, poll_interval_s=0.05)):
            id_ = authorized()
            eventually(is_completed(row, id_))

    def test_a_retry_is_taken_up_when_it_is_due_not_at_the_next_poll(
        self, store: Store, authorized: Make, row: Read
    ) -> None:
        id_, answers = authorized(), [Nothing("x"), Nothing("x")]

        def ask(_: Saga) -> Yes | Nothing:
            return answers.pop() if answers else Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=1, poll_interval_s=FOR_EVER)):
            eventually(is_completed(row, id_))

    def test_a_retry_of_another_orchestrator_is_taken_up_when_it_is_due(
        self, store: Store, other_store: Store, authorized: Make, row: Read
    ) -> None:
        id_ = authorized()
        (saga,) = other_store.claim(1)
        other_store.save(saga, replace(saga, wait_s=0.2))
        with running(Dispatcher(store, walk(store), threads=1, poll_interval_s=FOR_EVER)):
            eventually(is_completed(row, id_))


class TestTrouble:
    @pytest.mark.parametrize("error", [ValueError("bad row"), DatabaseUnavailable()])
    def test_one_bad_entry_does_not_stop_the_others(
        self, store: Store, authorized: Make, row: Read, error: Exception
    ) -> None:
        bad, ids = authorized(), [authorized() for _ in range(5)]

        def ask(saga: Saga) -> Yes:
            if saga.id == bad:
                raise error
            return Yes({})

        with running(Dispatcher(store, walk(store, ask), threads=2, poll_interval_s=FOR_EVER)):
            eventually(is_completed(row, *ids))
        assert row(bad)["claimed_by"] == "me", "left to its lease"

    def test_a_database_that_is_away_is_asked_again(self, store: Store, authorized: Make, row: Read) -> None:
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

    def test_what_is_being_claimed_while_it_stops_is_in_hand(self, store: Store, authorized: Make) -> None:
        """Neither lost to the lease nor the end of the thread: the claim's answer is still submitted."""
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

        dispatcher = Dispatcher(Slow(store.database, "me", 30), run, threads=2, poll_interval_s=FOR_EVER)
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
        assert dispatcher.run_once() == 0, "claim nothing more"

    def test_stopping_waits_for_what_is_in_hand_and_claims_nothing_more(
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
            assert dispatcher.in_hand == 0
        assert row(first)["status"] == Status.COMPLETED
        assert row(second)["claimed_by"] is None
