"""The database's time, for what several hosts must agree on: their own clocks may be off."""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import Context

from common.database.database import Database
from common.database.errors import TransientDatabaseError

NOW = "SELECT extract(epoch FROM clock_timestamp())::float AS now"
ASK_EVERY_S = 60.0
COUNTING = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
ASK_AGAIN_S = 2.0  # after the database did not answer


class DatabaseClock:
    """Returns seconds since 1970. Asks the database once a minute, and counts on from there.

    Until the database has answered, this host's clock counts.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offset = time.time() - elapsed()
        self._ask_at = float("-inf")

    def __call__(self) -> float:
        if elapsed() >= self._ask_at:
            self._ask()
        return elapsed() + self._offset

    def _ask(self) -> None:
        self._ask_at = elapsed() + ASK_AGAIN_S  # meanwhile other threads use the last answer
        with suppress(TransientDatabaseError):
            # In an empty context, because this belongs to no request: an observer would take it for the request's own.
            (row,) = Context().run(self._database.all, NOW)
            self._offset = row["now"] - elapsed()
            self._ask_at = elapsed() + ASK_EVERY_S


def elapsed() -> float:
    """Seconds since the machine started, those in which it was suspended among them, where the system counts these."""
    return time.clock_gettime(COUNTING) if COUNTING is not None else time.monotonic()
