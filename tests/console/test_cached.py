"""What many look at is computed once, and again when it is old."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from console.cached import Cached


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_value_is_computed_again_when_it_is_old():
    clock, numbers = Clock(), iter(range(10))
    cached = Cached(lambda: next(numbers), 2.0, clock)
    assert [cached.get(), cached.get()] == [0, 0]
    clock.now = 1.9
    assert cached.get() == 0
    clock.now = 2.0
    assert [cached.get(), cached.get()] == [1, 1]


def test_those_who_ask_at_once_get_one_computation():
    begun, may_end, computed = threading.Event(), threading.Event(), []

    def compute():
        begun.set()
        assert may_end.wait(10)
        computed.append(1)
        return "value"

    cached = Cached(compute, 60.0)
    with ThreadPoolExecutor(5) as threads:
        asked = [threads.submit(cached.get) for _ in range(5)]
        assert begun.wait(10)
        may_end.set()
        assert [each.result(10) for each in asked] == ["value"] * 5
    assert computed == [1]


def test_failure_is_kept_for_a_second():
    clock, asked = Clock(), []

    def compute():
        asked.append(clock.now)
        if len(asked) == 1:
            raise ZeroDivisionError
        return "value"

    cached = Cached(compute, 60.0, clock)
    for now in (0.0, 0.0, 0.9):
        clock.now = now
        with pytest.raises(ZeroDivisionError):
            cached.get()
    clock.now = 1.0
    assert [cached.get(), cached.get()] == ["value"] * 2
    assert asked == [0.0, 1.0]
