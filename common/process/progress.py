"""When a loop last came round, so that one that hangs can be told from one that waits."""

from __future__ import annotations

import time


class Progress:
    """Marked by the loop's thread, read by another."""

    def __init__(self, every_s: float) -> None:
        """:param every_s: the longest time that the loop waits when it has nothing to do"""
        self.every_s = every_s
        self._at = time.monotonic()

    def mark(self) -> None:
        self._at = time.monotonic()

    @property
    def ago_s(self) -> float:
        """Seconds since the last mark."""
        return time.monotonic() - self._at
