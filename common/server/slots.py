"""Limits how many requests of a kind are processed at once. The others queue, first come, first served."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Slots(Generic[T]):
    """A released slot passes directly to the longest waiter, so that a newcomer cannot take it."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiters: deque[T] = deque()
        self._lock = Lock()  # held for a few instructions only

    def acquire(self, waiter: T) -> bool:
        """Take a free slot, or join the queue. A queued waiter belongs to the thread whose `release` returns it."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._waiters.append(waiter)
            return False

    def release(self) -> T | None:
        """:returns: the waiter that owns the slot now, or None if the slot is free"""
        with self._lock:
            if self._waiters:
                return self._waiters.popleft()
            self._free += 1
            return None
