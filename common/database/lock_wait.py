"""How long one call waits for locks."""

from __future__ import annotations

import time

from common.database.sessions import LIMITS

LOCK_WAIT_S = 2.0  # in all tries of one call together; its caller gives up after 8 s
SESSION_LIMIT_S = float(LIMITS["lock_timeout"].removesuffix("s"))


class LockWait:
    """The time that one call may wait for locks: LOCK_WAIT_S for all its statements and tries together.

    PostgreSQL's lock_timeout restarts with each statement, so the limit shrinks as time passes.
    """

    def __init__(self) -> None:
        self._ends_at = self._limit_s = 0.0
        self._tolerance_s = LOCK_WAIT_S / 20

    @property
    def is_over(self) -> bool:
        return 0 < self._ends_at <= time.monotonic() + self._tolerance_s

    def start(self) -> None:
        """Start the clock with the first transaction: the wait for a connection has a separate limit."""
        self._ends_at = self._ends_at or time.monotonic() + LOCK_WAIT_S
        self._limit_s = SESSION_LIMIT_S

    def limit(self) -> str:
        """SQL that sets the limit to the time left; empty while the present limit is about right."""
        left_s = max(self._ends_at - time.monotonic(), 0.001)  # 0 would mean no limit
        if self._limit_s - left_s < self._tolerance_s:
            return ""
        self._limit_s = left_s
        return f"SET LOCAL lock_timeout = {max(round(left_s * 1000), 1)}; "
