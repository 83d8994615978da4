"""A bounded pool of database connections. (That of SQLAlchemy brings 20 MB and a quarter second of start with it.)"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2

CLOSE_IDLE_S = 300.0  # after a burst, each use of a connection closes one that was unused for longer


@dataclass(eq=False)
class Pooled:
    connection: Any
    era: int
    """A loss that one connection met begins a new one: those of the era before met it too."""
    used_at: float
    """On the monotonic clock, in seconds."""
    prepared: set[str] = field(default_factory=set)
    """The names of the statements that the server keeps for it."""


class Pool:
    """At most `size` connections, opened when needed and kept. The one that was used last is the first to be used."""

    def __init__(self, open_: Callable[[], Any], size: int, is_alive: Callable[[Pooled], bool]) -> None:
        """:param is_alive: asked before an idle connection is used again"""
        self._open, self._is_alive = open_, is_alive
        self._free = threading.Semaphore(size)
        self._idle: list[Pooled] = []
        self._era = 0
        self._answered_at = float("-inf")
        self._lock = threading.Lock()  # of these two; nothing is waited for while it is held

    def take(self, wait_s: float) -> Pooled:
        """:raises TimeoutError: all are in use, and stay so for that time :raises psycopg2.Error: none can be opened"""
        if not self._free.acquire(timeout=wait_s):
            raise TimeoutError("all connections are in use")
        try:
            with self._lock:
                pooled = self._idle.pop() if self._idle else None
            if pooled and not self._is_alive(pooled):
                self.outdate(pooled)
                _close(pooled)
                pooled = None
            era = self._era
            return pooled or self._opened(era)
        except BaseException:
            self._free.release()
            raise

    def _opened(self, era: int) -> Pooled:
        connection = self._open()
        with self._lock:
            now = time.monotonic()
            if era == self._era:
                self._answered_at = now
        return Pooled(connection, era, now)

    def give_back(self, pooled: Pooled) -> None:
        pooled.used_at = time.monotonic()
        surplus = None
        with self._lock:
            is_current = pooled.era == self._era
            if is_current:
                self._answered_at = pooled.used_at
                self._idle.append(pooled)
                if pooled.used_at - self._idle[0].used_at > CLOSE_IDLE_S:
                    surplus = self._idle.pop(0)
        if not is_current:
            _close(pooled)
        if surplus:
            _close(surplus)
        self._free.release()

    def answered_within(self, seconds: float) -> bool:
        """Whether the server has answered on any of these connections in this time, and none was lost since."""
        return time.monotonic() - self._answered_at <= seconds

    def outdate(self, pooled: Pooled) -> None:
        """This one is lost, and with it all of its era: the idle ones now, those in use when they are given back."""
        self._end(pooled.era)

    def close(self) -> None:
        """All of them, in the same way."""
        self._end(self._era)

    def _end(self, era: int) -> None:
        with self._lock:
            if era != self._era:  # another thread has done it
                return
            self._era += 1
            self._answered_at = float("-inf")
            idle, self._idle = self._idle, []
        for each in idle:
            _close(each)


def _close(pooled: Pooled) -> None:
    with suppress(psycopg2.Error):
        pooled.connection.close()
