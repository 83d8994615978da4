"""How far the orchestrators are behind."""

from __future__ import annotations

import threading
import time

from common.database.database import Database
from edge_api.store import BACKLOG_AGE

MEASURE_EVERY_S = 1.0


class Backlog:
    """Measured at most once a second in this process, by one thread, while the others use the last value."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._age_s = 0.0
        self._measured_at = float("-inf")
        self._measuring = threading.Lock()

    def age_s(self) -> float:
        """Seconds for which orders have been due and unclaimed; 0 when the orchestrators keep up.

        :raises TransientDatabaseError: when it cannot be measured now
        """
        if time.monotonic() - self._measured_at >= MEASURE_EVERY_S and self._measuring.acquire(blocking=False):
            try:
                row = self._database.one(BACKLOG_AGE)
                self._age_s = float(row["seconds"]) if row else 0.0
                self._measured_at = time.monotonic()
            finally:
                self._measuring.release()
        return self._age_s
