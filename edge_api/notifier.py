"""Decides which commits carry a NOTIFY. It is only a hint, so it must neither slow down nor stop the sale.

NOTIFY takes a database-wide lock until its commit is durable, and one notification is enough for many orders: an
orchestrator that is awake continues until nothing is due. With NOTIFY_COALESCE_MS a burst of orders sends one
notification at its beginning and one after it. By default (0) each order's commit carries its own.
"""

from __future__ import annotations

import logging
import threading
import time

import psycopg2

from common.database.database import Database
from common.database.errors import TransientDatabaseError
from domain.states import CHANNEL

# A full queue is not emptied by its listeners, but by the next successful NOTIFY or by asking for its usage.
EMPTY_QUEUE = "SELECT pg_notification_queue_usage()"
FULL_RETRY_S = 1.0  # the orchestrators poll meanwhile; one try a second costs nothing
WARN_EVERY_S = 60.0
log = logging.getLogger(__name__)


class Notifier:
    """At most one notification in `window_s` seconds from this process. Thread-safe."""

    def __init__(self, database: Database, window_s: float, channel: str = CHANNEL) -> None:
        self._database, self._normal_window_s = database, window_s
        self.statement = f"NOTIFY {channel}"
        self._window_s = window_s
        self._lock = threading.Lock()
        self._last = self._last_warning = float("-inf")
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
        """Notify at the end of the window, once for everything that was committed in it."""
        with self._lock:
            if self._is_planned:
                return
            self._is_planned = True
            timer = threading.Timer(max(0.0, self._last + self._window_s - time.monotonic()), self._notify)
        timer.daemon = True  # lost with the process: the orchestrators' poll finds what was committed
        timer.start()

    def queue_is_full(self) -> None:
        """After a commit failed because of its notification, send none with commits until a separate one succeeds."""
        with self._lock:
            now = time.monotonic()
            self._last, self._window_s = now, max(self._normal_window_s, FULL_RETRY_S)
            must_warn = now - self._last_warning >= WARN_EVERY_S
            if must_warn:
                self._last_warning = now
        if must_warn:
            log.warning(
                "the queue of NOTIFY is full: orders are found by polling until its slowest listener catches up."
                " Look in pg_stat_activity for a session that listens and is idle in a transaction"
            )

    def _notify(self) -> None:
        with self._lock:
            self._is_planned, self._last = False, time.monotonic()
        try:
            if self._window_s != self._normal_window_s:
                self._database.one(EMPTY_QUEUE)
            self._database.one(self.statement)
        except psycopg2.errors.ProgramLimitExceeded:
            self.queue_is_full()
            self.later()
        except TransientDatabaseError:
            return  # the poll finds it
        else:
            self._window_s = self._normal_window_s
