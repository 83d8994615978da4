"""Rates of requests that hold for all processes of the Edge API together: token buckets in the database.

A process takes a batch of tokens at once, about those of a second, so that most requests cost no statement. A bucket
with fewer tokens than a batch counts as empty (docs/decisions/0044).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from common.api.errors import RateLimited
from common.database.database import Database

MAX_SUBJECTS = 10_000  # remembered by a process; a subject that is forgotten takes a new batch

# A batch of tokens. No row: fewer are left.
TAKE_TOKENS = """
INSERT INTO request_rates AS bucket (subject, tokens) VALUES (%(subject)s, %(limit)s::float - %(wanted)s::float)
ON CONFLICT (subject) DO UPDATE SET refilled_at = now(), tokens = LEAST(%(limit)s::float,
  bucket.tokens + %(limit)s::float / 60 * extract(epoch FROM now() - bucket.refilled_at)) - %(wanted)s::float
WHERE LEAST(%(limit)s::float,
  bucket.tokens + %(limit)s::float / 60 * extract(epoch FROM now() - bucket.refilled_at)) >= %(wanted)s::float
RETURNING tokens
"""


@dataclass
class Rate:
    """How many requests a subject may send in a minute. Thread-safe."""

    database: Database = field(repr=False)
    kind: str
    per_minute: int
    """0: any number."""
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._batch = max(1, self.per_minute // 60)
        self._lock = Lock()
        self._left: dict[str, int] = {}
        self._empty_until: dict[str, float] = {}

    def take(self, subject: str) -> None:
        """:raises RateLimited: the subject has sent too many requests"""
        if not self.per_minute:
            return
        if self.is_empty(subject) or not (self._take_own(subject) or self._take_batch(subject)):
            raise self.refusal()

    def is_empty(self, subject: str) -> bool:
        """Whether this process knows that no token is left. It asks the database again once there may be one."""
        return self.clock() < self._empty_until.get(subject, 0)

    def refusal(self) -> RateLimited:
        refusal = RateLimited()
        refusal.retry_after = self._retry_after_s()
        return refusal

    def _retry_after_s(self) -> int:
        return math.ceil(60 * self._batch / self.per_minute)  # until a batch is there again, at the latest

    def _take_own(self, subject: str) -> bool:
        with self._lock:
            left = self._left.get(subject, 0)
            if left > 0:
                self._left[subject] = left - 1
            return left > 0

    def _take_batch(self, subject: str) -> bool:
        row = self.database.one(
            TAKE_TOKENS, subject=f"{self.kind}:{subject}", limit=self.per_minute, wanted=self._batch
        )
        with self._lock:
            for known in (self._left, self._empty_until):
                if len(known) >= MAX_SUBJECTS:
                    known.clear()
            if row is None:
                self._empty_until[subject] = self.clock() + self._retry_after_s()
            else:
                self._left[subject] = self._left.get(subject, 0) + self._batch - 1
        return row is not None
