"""The locks that a migration needs: one migration at a time, and tables that other transactions use."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2.errors
import sqlalchemy.exc

from common.schema.reaching import one_line, reach

log = logging.getLogger(__name__)

WAIT_FOR_DATABASE_S = 30  # a database that was started together with us is up within this time
ALONE_WITHIN_S = 300  # another migration may build an index on a large table
LOCK_ID = 0x486F6C64  # "Hold": any number that nothing else in this database uses

# A statement that waits for a table lock makes every later statement on that table wait behind it. So a migration
# waits briefly, lets the others pass, and tries again.
TABLE_LOCK_WAIT_MS = 400
TABLE_LOCKS_WITHIN_S = 600  # a report or a backup that reads the table for longer must be ended
PAUSE_S = 0.5
# Every transaction of a migration. Limits that the role may have are for statements on single orders.
LIMITS = (
    "SET LOCAL lock_timeout = {lock_timeout}; SET LOCAL statement_timeout = 0;"
    " SET LOCAL idle_in_transaction_session_timeout = 0"
)

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s)"
HOLDER = """
SELECT pid, COALESCE(NULLIF(application_name, ''), 'no name') FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND objsubid = 1 AND granted
"""


class LockUnavailable(Exception):
    """A migration did not get a lock in time. The message is one line that says what to do."""


def limits() -> str:
    return LIMITS.format(lock_timeout=TABLE_LOCK_WAIT_MS)


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Hold the lock that lets one migration run at a time.

    The lock belongs to a transaction on a separate connection. It is held between the migrations' transactions, and
    ends with the connection, also behind a pooler in transaction mode, which would keep a session's lock forever.
    Between statements, this transaction has no snapshot: it does not delay CREATE INDEX CONCURRENTLY.

    :raises LockUnavailable: after ALONE_WITHIN_S
    """
    with closing(reach(url, WAIT_FOR_DATABASE_S)) as connection, connection.cursor() as cursor:
        cursor.execute(limits())
        deadline = time.monotonic() + ALONE_WITHIN_S
        while not _first(cursor, TRY_LOCK)[0]:
            if time.monotonic() > deadline:
                raise LockUnavailable(_who_holds_it(cursor))
            time.sleep(0.1)
        yield


def with_table_locks(work: Callable[[], None]) -> None:
    """Run migrations, and repeat them if a table stayed locked. Committed ones are not repeated.

    :raises LockUnavailable: after TABLE_LOCKS_WITHIN_S
    """
    deadline = time.monotonic() + TABLE_LOCKS_WITHIN_S
    while True:
        try:
            work()
            return
        except sqlalchemy.exc.DBAPIError as error:
            if not isinstance(error.orig, psycopg2.errors.LockNotAvailable | psycopg2.errors.DeadlockDetected):
                raise
            if time.monotonic() > deadline:
                raise LockUnavailable(
                    f"a table stayed locked for {TABLE_LOCKS_WITHIN_S} s ({one_line(error.orig)}). The migration was"
                    " rolled back. End the transactions that use the table (see pg_stat_activity) and migrate again"
                ) from None
        log.info("a table is in use; the migration lets others pass and tries again")
        time.sleep(PAUSE_S * (1 + random.random()))


def _first(cursor: Any, sql: str) -> Any:
    cursor.execute(sql, (LOCK_ID,))
    return cursor.fetchone()


def _who_holds_it(cursor: Any) -> str:
    pid, name = _first(cursor, HOLDER) or (0, "gone by now")
    return (
        f"another migration has held the lock for {ALONE_WITHIN_S} s (server process {pid}, {name}). If none is"
        " running, a connection pooler keeps the lock: set DATABASE_DIRECT_URL to an address without the pooler, and"
        f" end that process: SELECT pg_terminate_backend({pid})"
    )
