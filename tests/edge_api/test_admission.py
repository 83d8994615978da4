"""Admission of new orders: the bulkhead and the backlog."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from common.api.errors import Busy
from edge_api.admission import LOOK_EVERY_S, STALLED_AFTER_S, Backlog, Bulkhead


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(("threads", "slots"), [(1, 1), (2, 1), (4, 3), (8, 6), (16, 12), (256, 192)])
def test_a_quarter_of_the_threads_stays_free(threads: int, slots: int, clock: Clock) -> None:
    bulkhead = Bulkhead(threads, clock)
    with ExitStack() as taken:
        for _ in range(slots):
            taken.enter_context(bulkhead.slot())
        clock.now += STALLED_AFTER_S
        with pytest.raises(Busy):
            taken.enter_context(bulkhead.slot())
    with bulkhead.slot():
        pass


def test_failed_request_releases_its_slot(clock: Clock) -> None:
    bulkhead = Bulkhead(1, clock)
    with pytest.raises(KeyError), bulkhead.slot():
        raise KeyError
    with bulkhead.slot():
        pass


def test_a_request_waits_for_a_slot_while_calls_are_answered(clock: Clock) -> None:
    bulkhead = Bulkhead(1, clock)
    begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with bulkhead.slot():
            begun.set()
            assert may_end.wait(20)

    def wait() -> bool:
        with bulkhead.slot():
            return True

    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(hold)
        assert begun.wait(20)
        clock.now += STALLED_AFTER_S
        bulkhead.note_answer()
        waiting = threads.submit(wait)
        may_end.set()
        holding.result()
        assert waiting.result()


def test_waiting_request_is_refused_when_calls_stall(clock: Clock) -> None:
    bulkhead = Bulkhead(1, clock)

    def wait() -> None:
        with bulkhead.slot():
            raise AssertionError("got a slot")

    with bulkhead.slot(), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait)
        clock.now += STALLED_AFTER_S
        with pytest.raises(Busy):
            waiting.result()


class Looks:
    """A database with a backlog of some age, which counts its queries."""

    def __init__(self, age_s: float) -> None:
        self.age_s, self.count = age_s, 0

    def __call__(self) -> float:
        self.count += 1
        return self.age_s


def test_backlog_is_queried_once_a_second(clock: Clock) -> None:
    looks = Looks(0)
    backlog = Backlog(looks, 60, clock)
    for _ in range(100):
        backlog.check()
    assert looks.count == 1
    clock.now += LOOK_EVERY_S
    backlog.check()
    assert looks.count == 2


def test_new_orders_are_refused_until_the_backlog_is_younger(clock: Clock) -> None:
    looks = Looks(60.1)
    backlog = Backlog(looks, 60, clock)
    for _ in range(3):
        with pytest.raises(Busy) as refusal:
            backlog.check()
        assert int(refusal.value.headers()["Retry-After"]) >= 1
    looks.age_s = 60
    clock.now += LOOK_EVERY_S
    backlog.check()


def test_one_thread_queries_and_the_others_do_not_wait(clock: Clock) -> None:
    asking, may_answer = threading.Event(), threading.Event()

    def slow_age() -> float:
        asking.set()
        assert may_answer.wait(20)
        return 61

    backlog = Backlog(slow_age, 60, clock)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(backlog.check)
        assert asking.wait(20)
        backlog.check()
        may_answer.set()
        with pytest.raises(Busy):
            first.result()


def test_failed_backlog_query_is_repeated(clock: Clock) -> None:
    ages = iter([61.0])
    backlog = Backlog(lambda: next(ages), 60, clock)
    with pytest.raises(Busy):
        backlog.check()
    clock.now += LOOK_EVERY_S
    for _ in range(2):
        with pytest.raises(StopIteration):
            backlog.check()
