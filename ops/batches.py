"""Changes in small transactions, so that orders that are placed meanwhile wait for none of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2.errors

from common.database.transaction import Transaction
from common.process import moments
from ops.database import Unusable, within

# Only one process deletes at a time. The number is arbitrary; common/schema/locks.py has another one.
LOCK_ID = 7_406_012
TIMEOUT_S = 10
LOCK_TIMEOUT = "50ms"  # a row that somebody holds for longer is left for the next run

Change = Callable[[Transaction, list[str]], Counter[str]]


@contextmanager
def alone(connection: Any) -> Iterator[None]:
    """:raises Unusable: another process deletes or erases on this database"""
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        (found,) = tx.all("SELECT pg_try_advisory_lock(%(id)s) AS is_free", id=LOCK_ID)
    if not found["is_free"]:
        raise Unusable("another `ops retain` or `ops erase` is running on this database: try again when it has ended")
    yield  # the lock ends with the connection


@dataclass
class Batches:
    """Runs changes one after the other, and pauses after each for as long as it took."""

    connection: Any
    seconds: float = float("inf")
    """No batch begins after this time."""
    done: Counter[str] = field(default_factory=Counter)
    locked: int = 0
    """How many ids were left because another transaction holds their rows."""
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self._began >= self.seconds

    def run(self, ids: Sequence[str], change: Change) -> None:
        """Run `change` for all ids, or for parts of them if rows are locked, down to single ids."""
        try:
            self.once(lambda tx: change(tx, list(ids)))
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            if len(ids) == 1:
                self.locked += 1
                return
            half = len(ids) // 2
            self.run(ids[:half], change)
            self.run(ids[half:], change)

    def once(self, change: Callable[[Transaction], Counter[str]]) -> None:
        """Run one change in its own transaction."""
        began = time.monotonic()
        with within(self.connection, timeout_s=TIMEOUT_S) as tx:
            tx.execute("SELECT set_config('lock_timeout', %(limit)s, true)", limit=LOCK_TIMEOUT)
            changed = change(tx)
            moments.reached("batch.before_commit")
        self.done += changed
        if changed.total():
            time.sleep(time.monotonic() - began)
