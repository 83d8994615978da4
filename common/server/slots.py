"""How many of a kind may be in hand at once; who comes on top waits, and is served in turn."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Places(Generic[T]):
    """A place is given on from who leaves to who has waited longest, so that nobody who comes later takes it."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[T] = deque()
        self._lock = Lock()  # nothing is waited for while it is held

    def take(self, guest: T) -> bool:
        """Whether there is a place. If not, it is given out by a later `leave`, and is another thread's from now on."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._waiting.append(guest)
            return False

    def wait_again(self, guest: T) -> None:
        """Behind all who wait. For who holds a place and is about to leave it, so that there is a next `leave`."""
        with self._lock:
            self._waiting.append(guest)

    def leave(self) -> T | None:
        """:returns: who has the place now; None: nobody waits, and it is free"""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None
