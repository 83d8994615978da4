"""Answers whether this process can use its database, within a bounded time and without extra connections."""

from __future__ import annotations

import threading
from collections.abc import Callable


class HealthCheck:
    """Runs one check at a time in a thread of its own. All who ask meanwhile get its result.

    Opening a connection may take any time: libpq waits for the resolver, and nothing limits that.
    """

    def __init__(self, check: Callable[[], bool]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def result(self, timeout_s: float) -> bool:
        """False too where the check takes longer."""
        with self._lock:
            if self._running is None or self._running.is_done.is_set():
                self._running = _Running()
                threading.Thread(target=self._run, args=(self._running,), name="health", daemon=True).start()
            running = self._running
        return running.is_done.wait(timeout_s) and running.is_healthy

    def _run(self, running: _Running) -> None:
        try:
            running.is_healthy = self._check()
        finally:
            running.is_done.set()


class _Running:
    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.is_healthy = False
