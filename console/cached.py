"""A value that is computed at most once every few seconds, however many ask for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
FAILED_S = 1.0  # those who waited for a computation that failed would otherwise repeat it, one after the other


class Cached(Generic[T]):
    """Thread-safe. While one thread computes, the others wait for its result."""

    def __init__(self, compute: Callable[[], T], fresh_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """:param fresh_s: for how long a value is given again"""
        self._compute, self._fresh_s, self._clock = compute, fresh_s, clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None
        self._failed: tuple[float, Exception] | None = None

    def get(self) -> T:
        """What `compute` raises is raised again for FAILED_S."""
        with self._lock:
            if self._failed and self._clock() < self._failed[0]:
                raise self._failed[1].with_traceback(None)
            if self._kept is None or self._clock() >= self._kept[0]:
                value = self._computed()
                self._kept = (self._clock() + self._fresh_s, value)
            return self._kept[1]

    def _computed(self) -> T:
        self._failed = None
        try:
            return self._compute()
        except Exception as error:  # re-raised, here and for FAILED_S by `get`
            self._failed = (self._clock() + FAILED_S, error)
            raise
