"""Keeps calls away from a participant that is down, or from a locked row.

A deferred call costs a saga no attempt.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

OPENS_AFTER = 10  # unanswered calls in a row: more than the attempts of one saga
LONGEST = 8  # times the first pause, so that calls resume soon after the participant is back
BUSY_FOR_S = 10.0  # five times as long as a participant waits for a lock


class Breaker:
    """A circuit breaker: a participant that is down is probed, not hammered. Thread-safe.

    After many unanswered calls in a row it opens. From then on it lets one call at a time through as a probe, less and
    less often. The first answer closes it. (M. Nygard, Release It!, "Circuit Breaker")
    """

    def __init__(
        self, pause_s: float, clock: Callable[[], float] = time.monotonic, opens_after: int = OPENS_AFTER
    ) -> None:
        """:param pause_s: seconds until the first probe; each failed probe doubles it"""
        self._first_pause_s, self._clock, self._opens_after = pause_s, clock, opens_after
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_s = pause_s
        self._probe_at = 0.0
        self._is_probing = False

    def wait_s(self) -> float:
        """0: call now. Otherwise the seconds to wait, with jitter so that not all callers return at once."""
        with self._lock:
            left = self._left_s()
            if not left and self._failures >= self._opens_after:
                self._probe_at = self._clock() + self._pause_s  # this caller probes; the others wait for the result
                self._is_probing = True
            return left

    def left_s(self) -> float:
        """As `wait_s`, for a caller that may not call yet: it does not become the probe."""
        with self._lock:
            return self._left_s()

    @property
    def is_open(self) -> bool:
        """Whether it keeps calls away."""
        with self._lock:
            return self._failures >= self._opens_after

    def _left_s(self) -> float:
        left = self._probe_at - self._clock() if self._failures >= self._opens_after else 0
        return left + random.random() * self._pause_s if left > 0 else 0

    def note(self, *, answered: bool) -> None:
        """Report how a call ended: with any answer, or with nothing."""
        with self._lock:
            if answered:
                self._failures, self._pause_s = 0, self._first_pause_s
                return
            self._failures += 1
            if self._failures == self._opens_after or (self._failures > self._opens_after and self._is_probing):
                self._probe_at = self._clock() + self._pause_s
                self._pause_s = min(self._pause_s * 2, self._first_pause_s * LONGEST)
                self._is_probing = False  # other calls that were in flight by then tell nothing new


class LockedRows:
    """The rows that a participant could not lock, each with a breaker: one call at a time tries again. Thread-safe."""

    def __init__(self, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_s, self._clock = pause_s, clock
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}

    def wait_s(self, ids: Iterable[str]) -> float:
        """0: call now. Otherwise the seconds to wait for the rows with these ids."""
        with self._lock:
            breakers = [self._breakers[id_] for id_ in ids if id_ in self._breakers]
            # Who must wait for one row must not become the probe of another: callers that need only that would starve.
            left = max((breaker.left_s() for breaker in breakers), default=0)
            return left or max((breaker.wait_s() for breaker in breakers), default=0)

    def note(self, ids: Iterable[str], *, locked: bool) -> None:
        """Report that a call found these rows locked, or free."""
        with self._lock:
            for id_ in ids:
                if locked:
                    breaker = self._breakers.setdefault(id_, Breaker(self._pause_s, self._clock, opens_after=1))
                    breaker.note(answered=False)
                else:
                    self._breakers.pop(id_, None)


class BusyLimit:
    """Keeps a share of the threads free while a participant is busy. Thread-safe."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        """:param limit: how many calls may be in flight while the participant is busy"""
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._in_flight = 0
        self._busy_until = 0.0

    @contextmanager
    def slot(self) -> Iterator[bool]:
        """Take a slot for one call. Yields False if none is free."""
        with self._lock:
            is_free = self._in_flight < self._limit or self._clock() >= self._busy_until
            self._in_flight += is_free
        try:
            yield is_free
        finally:
            with self._lock:
                self._in_flight -= is_free

    def note_busy(self) -> None:
        with self._lock:
            self._busy_until = self._clock() + BUSY_FOR_S
