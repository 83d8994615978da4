"""Repeats work that failed because the database could not be reached, until it can."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from common.database.errors import TransientDatabaseError

RETRY_EVERY_S = 0.25
MAX_WAITING = 1000  # beyond this, claims are left to their leases
log = logging.getLogger(__name__)


class ReleaseQueue:
    """Thread-safe. It has a thread only while there is work, so it can be made before a fork."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_running = False
        self._lock = threading.Lock()  # guards the two fields above

    def add(self, work: Callable[[], object]) -> None:
        """Call `work` until it no longer raises TransientDatabaseError."""
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                return
            self._waiting.append(work)
            must_start, self._is_running = not self._is_running, True
        if must_start:
            threading.Thread(target=self._run, name="retry queue", daemon=True).start()

    def _run(self) -> None:
        while work := self._next():
            try:
                work()
            except TransientDatabaseError:
                self._waiting.append(work)  # behind the others: perhaps only this one fails now
                time.sleep(RETRY_EVERY_S)
            except Exception:  # the other claims still have to be released
                log.exception("cannot give a claim back; it is left to its lease")

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._is_running = False
            return None
