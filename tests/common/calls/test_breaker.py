"""The circuit breaker, with a clock in the test's hand."""

from __future__ import annotations

import pytest

from common.calls.breaker import LONGEST, OPENS_AFTER, Breaker


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


def test_lets_all_through_while_answers_come(clock: Clock) -> None:
    breaker = Breaker(1, clock)
    for _ in range(5):
        fail(breaker, OPENS_AFTER - 1)
        assert breaker.wait_s() == 0
        breaker.note(answered=True)


def test_the_attempts_of_one_saga_do_not_open_it(clock: Clock) -> None:
    breaker = Breaker(1, clock)
    fail(breaker, 5)
    assert breaker.wait_s() == 0


def test_open_it_keeps_all_away_and_spreads_them(open_breaker: Breaker) -> None:
    waits = {open_breaker.wait_s() for _ in range(20)}
    assert len(waits) == 20
    assert all(1 <= wait <= 3 for wait in waits)


def test_then_one_call_at_a_time_probes_ever_more_seldom(open_breaker: Breaker, clock: Clock) -> None:
    pauses, last = [], 0.0
    while len(pauses) < 6:
        clock.now += 0.5
        if open_breaker.wait_s() == 0:
            assert open_breaker.wait_s() > 0, "the others wait for what the probe finds"
            open_breaker.note(answered=False)
            pauses.append(clock.now - last)
            last = clock.now
    assert pauses == [1, 2, 4, LONGEST, LONGEST, LONGEST]


def test_the_first_answer_closes_it(open_breaker: Breaker, clock: Clock) -> None:
    clock.now = 1
    assert open_breaker.wait_s() == 0
    open_breaker.note(answered=True)
    assert [open_breaker.wait_s() for _ in range(3)] == [0, 0, 0]
