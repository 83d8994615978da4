"""Limits how often this process sends NOTIFY, which takes a database-wide lock until its commit is durable.

An orchestrator that is awake works until nothing is due, so a burst of orders needs one notification at its beginning
and one after it. Off by default (NOTIFY_COALESCE_MS=0): then each order's commit carries its own.
"""

from __future__ import annotations

import threading
import time

from common.database.database import Database
from common.database.errors import TransientDatabaseError
from domain.states import CHANNEL

NOTIFY = f"NOTIFY {CHANNEL}"


class Notifier:
    """At most one notification in `window_s` seconds from this process. Thread-safe."""

    def __init__(self, database: Database, window_s: float) -> None:
        self._database, self._window_s = database, window_s
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._is_planned = False

    def is_due(self) -> bool:
        """Whether the next commit carries the notification. If not, call `later` after it."""
        with self._lock:
            now = time.monotonic()
            if now - self._last < self._window_s:
                return False
            self._last = now
            return True

    def later(self) -> None:
        """Notify at the end of the window, once for everything committed in it."""
        with self._lock:
            if self._is_planned:
                return
            self._is_planned = True
            timer = threading.Timer(max(0.0, self._last + self._window_s - time.monotonic()), self._notify)
        timer.daemon = True  # it may die with the process: the orchestrator's poll finds what was committed
        timer.start()

    def _notify(self) -> None:
        with self._lock:
            self._is_planned, self._last = False, time.monotonic()
        try:
            self._database.one(NOTIFY)
        except TransientDatabaseError:
            return  # the poll finds it
