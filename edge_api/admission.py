"""Admission of new orders: overload is refused before anything is written, and threads stay free for other requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.api.errors import Busy

STALLED_AFTER_S = 1.0  # if no other service has answered for this long, waiting for a slot is pointless
LOOK_EVERY_S = 1.0  # how often a process queries the age of the backlog
RETRY_AFTER_BACKLOG_S = 5


class Bulkhead:
    """Limits how many requests of this process call other services at once (M. Nygard, Release It!, "Bulkheads").

    A service that hangs holds only those requests: a quarter of the threads stays free for requests that call no other
    service. While calls are answered, a request waits for a slot; if none has been answered for a second, it is refused
    at once.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = max(1, threads - max(1, threads // 4))
        self._clock = clock
        self._changed = threading.Condition()
        self._progress_at = clock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """:raises Busy: all slots are taken, and no call is being answered"""
        self._acquire()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify()

    def note_answer(self) -> None:
        """Report that another service has answered a call, with any answer."""
        self._progress_at = self._clock()

    def _acquire(self) -> None:
        with self._changed:
            while not self._free:
                left_s = self._progress_at + STALLED_AFTER_S - self._clock()
                if left_s <= 0:
                    raise Busy("Too many requests wait for other services. Send the same request again.")
                self._changed.wait(left_s)
            self._free -= 1
            if not self._free:
                self._progress_at = self._clock()  # later requests start their own wait


class Backlog:
    """Refuses new orders while authorized ones wait too long for an orchestrator."""

    def __init__(self, age_s: Callable[[], float], limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """:param age_s: queries the age of the backlog in seconds"""
        self._age_s, self._limit_s, self._clock = age_s, limit_s, clock
        self._looking = threading.Lock()
        self._look_at = float("-inf")
        self._is_too_old = False

    def check(self) -> None:
        """:raises Busy: earlier orders have waited for longer than the limit"""
        if self._clock() >= self._look_at and self._looking.acquire(blocking=False):
            try:
                self._is_too_old = self._age_s() > self._limit_s
                self._look_at = self._clock() + LOOK_EVERY_S
            finally:
                self._looking.release()
        if self._is_too_old:
            refusal = Busy("Orders wait too long to be processed. Send the same request again, with the same key.")
            refusal.retry_after = RETRY_AFTER_BACKLOG_S
            raise refusal
