"""The circuit breaker, with a clock that the test sets."""

from __future__ import annotations

import pytest

from common.calls.breaker import BUSY_FOR_S, LONGEST, OPENS_AFTER, Breaker, BusyLimit, LockedRows


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_breaker(clock: Clock) -> Breaker:
    breaker = Breaker(1, clock)
    fail(breaker, OPENS_AFTER)
    return breaker


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.note(answered=False)


def test_closed_breaker_lets_all_calls_through(clock: Clock) -> None:
    breaker = Breaker(1, clock)
    for _ in range(5):
        fail(breaker, OPENS_AFTER - 1)
        assert breaker.wait_s() == 0
        breaker.note(answered=True)


def test_attempts_of_one_saga_do_not_open_the_breaker(clock: Clock) -> None:
    breaker = Breaker(1, clock)
    fail(breaker, 5)
    assert breaker.wait_s() == 0


def test_open_breaker_spreads_deferred_calls(open_breaker: Breaker) -> None:
    waits = {open_breaker.wait_s() for _ in range(20)}
    assert len(waits) == 20
    assert all(1 <= wait <= 3 for wait in waits)


def test_one_call_at_a_time_probes_with_growing_pauses(open_breaker: Breaker, clock: Clock) -> None:
    pauses, last = [], 0.0
    while len(pauses) < 6:
        clock.now += 0.5
        if open_breaker.wait_s() == 0:
            assert open_breaker.wait_s() > 0, "the others wait for the probe's result"
            open_breaker.note(answered=False)
            pauses.append(clock.now - last)
            last = clock.now
    assert pauses == [1, 2, 4, LONGEST, LONGEST, LONGEST]


def test_first_answer_closes_the_breaker(open_breaker: Breaker, clock: Clock) -> None:
    clock.now = 1
    assert open_breaker.wait_s() == 0
    open_breaker.note(answered=True)
    assert [open_breaker.wait_s() for _ in range(3)] == [0, 0, 0]


def test_failures_of_calls_in_flight_do_not_lengthen_the_pause(open_breaker: Breaker, clock: Clock) -> None:
    fail(open_breaker, 20)
    clock.now = 1
    assert open_breaker.wait_s() == 0


def test_only_locked_rows_are_waited_for() -> None:
    rows = LockedRows(pause_s=1)
    rows.note(["a"], locked=True)
    assert rows.wait_s(["b", "c"]) == 0
    assert rows.wait_s(["b", "a"]) > 0
    rows.note(["a"], locked=False)
    assert rows.wait_s(["a"]) == 0


def test_waiting_for_a_locked_row_does_not_delay_callers_of_a_row_that_is_free_again(clock: Clock) -> None:
    rows = LockedRows(1, clock)
    rows.note(["a"], locked=True)
    clock.now = 1.0
    rows.note(["b"], locked=True)  # b stays locked; a may be tried again
    assert rows.wait_s(["a", "b"]) > 0
    assert rows.wait_s(["a"]) == 0


def test_bulkhead_limits_calls_while_busy(clock: Clock) -> None:
    busy_limit = BusyLimit(1, clock)
    with busy_limit.slot() as first, busy_limit.slot() as second:
        assert (first, second) == (True, True)
        busy_limit.note_busy()
        with busy_limit.slot() as third:
            assert not third
        clock.now = BUSY_FOR_S
        with busy_limit.slot() as later:
            assert later
