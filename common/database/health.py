"""Checks within a bounded time whether this process can use its database."""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Run:
    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.error: Exception | None = None


class HealthCheck:
    """Runs one check at a time in its own thread. All callers meanwhile get its result.

    Opening a connection may take any time: libpq waits for the resolver without a limit.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._current: _Run | None = None

    def check(self, timeout_s: float) -> None:
        """:raises TimeoutError: when the check takes longer :raises Exception: what the check raised"""
        with self._lock:
            if self._current is None or self._current.is_done.is_set():
                self._current = _Run()
                threading.Thread(target=self._run, args=(self._current,), name="health", daemon=True).start()
            run = self._current
        if not run.is_done.wait(timeout_s):
            raise TimeoutError("the database did not answer in time")
        if run.error:
            raise run.error

    def _run(self, run: _Run) -> None:
        try:
            self._check()
        except Exception as error:  # for the callers
            run.error = error
        finally:
            run.is_done.set()
