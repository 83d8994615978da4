"""How long one call waits for locks."""

from __future__ import annotations

import time

LOCK_WAIT_S = 2.0  # in all tries of one call together; its caller gives up after 8 s


class LockWait:
    """The time that one call may wait for locks: for all its statements and tries together.

    PostgreSQL's lock_timeout restarts with each statement, so the limit shrinks as time passes.
    """

    def __init__(self, session_limit_s: float) -> None:
        """:param session_limit_s: the lock_timeout of its session, which counts if it is shorter than LOCK_WAIT_S"""
        self._session_limit_s = session_limit_s
        self._all_s = min(LOCK_WAIT_S, session_limit_s)
        self._ends_at = self._limit_s = 0.0
        self._tolerance_s = self._all_s / 20

    @property
    def is_over(self) -> bool:
        return 0 < self._ends_at <= time.monotonic() + self._tolerance_s

    def start(self) -> None:
        """Start the clock with the first transaction: the wait for a connection has a separate limit."""
        self._ends_at = self._ends_at or time.monotonic() + self._all_s
        self._limit_s = self._session_limit_s

    def limit(self) -> str:
        """SQL that sets the limit to the time left; empty while the present limit is about right."""
        left_s = max(self._ends_at - time.monotonic(), 0.001)  # 0 would mean no limit
        if self._limit_s - left_s < self._tolerance_s:
            return ""
        self._limit_s = left_s
        return f"SET LOCAL lock_timeout = {max(round(left_s * 1000), 1)}; "
