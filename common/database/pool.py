"""A bounded pool of database connections. (SQLAlchemy's pool would cost 20 MB and a quarter second at start.)"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from common.database.sessions import Session

CLOSE_IDLE_S = 300.0  # after a burst, each use of a connection closes one that was unused for longer


@dataclass(eq=False)
class Pooled:
    connection: Any
    generation: int
    """A lost connection starts a new generation: it invalidates every connection of its own."""
    used_at: float
    """On the monotonic clock, in seconds."""
    limits: str = ""
    """SQL that each transaction must begin with; empty on a direct connection."""
    prepared: set[str] = field(default_factory=set)
    """Names of the statements that the server has prepared for it."""


class Pool:
    """At most `size` connections, opened when needed and kept. Last in, first out."""

    def __init__(self, open_: Callable[[], Session], size: int, is_alive: Callable[[Pooled], bool]) -> None:
        """:param is_alive: called before an idle connection is used again"""
        self._open, self._is_alive = open_, is_alive
        self._size, self._in_use = size, 0
        self._free = threading.Semaphore(size)
        self._idle: list[Pooled] = []
        self._generation = 0
        self._answered_at = float("-inf")
        self._lock = threading.Lock()  # guards the four above; never held while waiting

    def take(self, wait_s: float) -> Pooled:
        """:raises TimeoutError: when all stay in use for that time :raises psycopg2.Error: when none can be opened"""
        if not self._free.acquire(timeout=wait_s):
            raise TimeoutError("all connections are in use")
        try:
            with self._lock:
                self._in_use += 1
                pooled = self._idle.pop() if self._idle else None
            if pooled and not self._is_alive(pooled):
                self.invalidate(pooled)
                _close(pooled)
                pooled = None
            return pooled or self._new()
        except BaseException:
            self._release()
            raise

    def give_back(self, pooled: Pooled) -> None:
        pooled.used_at = time.monotonic()
        pooled.connection.notifies.clear()  # behind a pooler, another client's LISTEN may fill this list
        surplus = None
        with self._lock:
            is_current = pooled.generation == self._generation
            if is_current:
                self._answered_at = pooled.used_at
                self._idle.append(pooled)
                if pooled.used_at - self._idle[0].used_at > CLOSE_IDLE_S:
                    surplus = self._idle.pop(0)
        if not is_current:
            _close(pooled)
        if surplus:
            _close(surplus)
        self._release()

    def usage(self) -> dict[str, int]:
        """How many connections are in use, idle, and not open. Together they are the size."""
        with self._lock:
            in_use, idle = self._in_use, len(self._idle)
        return {"in_use": in_use, "idle": idle, "unopened": max(self._size - in_use - idle, 0)}

    def answered_within(self, seconds: float) -> bool:
        """Whether the server has answered on any of these connections in this time, and none was lost since."""
        return time.monotonic() - self._answered_at <= seconds

    def invalidate(self, pooled: Pooled) -> None:
        """Close every connection of this one's generation: idle ones now, those in use when they are given back."""
        self._end(pooled.generation)

    def close(self) -> None:
        """Close all connections, in the same way."""
        self._end(self._generation)

    def _release(self) -> None:
        with self._lock:
            self._in_use -= 1
        self._free.release()

    def _new(self) -> Pooled:
        generation = self._generation  # before it is opened: a loss meanwhile may affect this connection too
        session = self._open()
        with self._lock:
            now = time.monotonic()
            if generation == self._generation:
                self._answered_at = now
        return Pooled(session.connection, generation, now, session.limits)

    def _end(self, generation: int) -> None:
        with self._lock:
            if generation != self._generation:  # another thread has ended it
                return
            self._generation += 1
            self._answered_at = float("-inf")
            idle, self._idle = self._idle, []
        for each in idle:
            _close(each)


def _close(pooled: Pooled) -> None:
    with suppress(psycopg2.Error):
        pooled.connection.close()
