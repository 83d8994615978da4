"""A participant that is down is probed, not hammered: a circuit breaker per participant and process.

The pattern is M. Nygard's (Release It!, "Circuit Breaker"): after many unanswered calls in a row it opens; then one
call at a time probes, ever more seldom; the first answer closes it. What it keeps away costs a saga no attempt.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

OPENS_AFTER = 10  # unanswered calls in a row: more than the attempts of a single saga, which must take their course
LONGEST = 8  # times the first pause: what waits is asked again soon after the participant is back


class Breaker:
    """Thread-safe. `pause_s`: seconds until the first probe; each failed probe doubles it."""

    def __init__(self, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_pause_s, self._clock = pause_s, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_s = pause_s
        self._probe_at = 0.0

    def wait_s(self) -> float:
        """0: call now. Otherwise after how many seconds to come again; spread, so that not all come at once."""
        with self._lock:
            if self._failures < OPENS_AFTER:
                return 0
            left = self._probe_at - self._clock()
            if left > 0:
                return left + random.random() * self._pause_s
            self._probe_at = self._clock() + self._pause_s  # this caller probes; the others wait for what it finds
            return 0

    def note(self, *, answered: bool) -> None:
        """How a call ended: with any answer, or with nothing."""
        with self._lock:
            if answered:
                self._failures, self._pause_s = 0, self._first_pause_s
                return
            self._failures += 1
            if self._failures >= OPENS_AFTER:
                self._probe_at = self._clock() + self._pause_s
                self._pause_s = min(self._pause_s * 2, self._first_pause_s * LONGEST)
