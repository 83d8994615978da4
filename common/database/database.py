"""A bounded pool of connections, one way to run a transaction, and one reading of every error.

Statements are plain SQL. They are in the modules of the operations that run them (docs/decisions/0001).
"""

from __future__ import annotations

import os
import random
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from common.database import version
from common.database.errors import (
    CommitOutcomeUnknown,
    DatabaseBusy,
    DatabaseUnavailable,
    NotMigrated,
    RowsLocked,
    TransientDatabaseError,
)
from common.database.failures import CONFLICTS, NOT_PREPARED, STALE, is_lost, is_schema_mismatch, is_transient
from common.database.health import HealthCheck
from common.database.lock_wait import LockWait
from common.database.pool import Pool, Pooled
from common.database.sessions import Sessions
from common.database.transaction import Row, Transaction
from common.database.watch import watched
from common.process import moments

__all__ = ["Database", "Row", "Transaction"]

T = TypeVar("T")

TRIES = 4
POOL_WAIT_S = 2.0  # a request that gets no connection in this time is answered 503
ANSWER_WITHIN_S = 6.0  # a working server answers any statement in this time: statement_timeout plus a margin
IDLE_CHECK_S = 1.0  # a connection idle for longer is checked before use: the server may have restarted


class Database:
    """A pool of at most `size` connections of this process. None is opened early, none survives a fork."""

    def __init__(self, url: str, *, name: str, size: int, limits: Mapping[str, str] | None = None) -> None:
        """:param limits: of each statement, in the place of the usual ones (sessions.py)"""
        self.url, self._name, self._size = url, name, size
        self._prepares = True
        self._sessions = Sessions(url, name, limits)
        self._is_current = False
        self._forget_connections()
        forget = weakref.WeakMethod(self._forget_connections)  # the hook outlives the pool
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction and commit. After a conflict with another transaction, run all of it again.

        :raises DatabaseBusy: when three more tries met a conflict too
        :raises DatabaseUnavailable: when there is no connection, or it was lost before COMMIT; nothing is saved
        :raises NotMigrated: when the database lacks migrations of this release; nothing is saved
        :raises CommitOutcomeUnknown: when the connection was lost in COMMIT; the change may be saved
        """
        return self._guarded(work, autocommit=False)

    def one(self, sql: str, **params: Any) -> Row | None:
        """Run a single statement that commits by itself, without round trips for BEGIN and COMMIT."""
        return self.statement(lambda tx: tx.one(sql, **params))

    def all(self, sql: str, **params: Any) -> list[Row]:
        """Like `one`, for all rows."""
        return self.statement(lambda tx: tx.all(sql, **params))

    def statement(self, work: Callable[[Transaction], T]) -> T:
        """Like `one`, with `work` for that one statement and its handling."""
        return self._guarded(work, autocommit=True)

    def check(self, timeout: float = 1.5) -> None:
        """Check within `timeout` seconds that this process can use its database and that the schema fits this release.

        The check uses the process's own connections. Opening another one could fail on a busy server, or wait for a
        resolver, while orders complete on the open ones.

        :raises DatabaseUnavailable: when no connection can be used
        :raises NotMigrated: when migrations are missing, or the database belongs to another program
        """
        if self._is_current and self._pool.answered_within(IDLE_CHECK_S):
            return
        try:
            self._health.check(timeout)
        except NotMigrated:
            raise
        except (TransientDatabaseError, psycopg2.Error, TimeoutError) as error:
            if not self._pool.answered_within(ANSWER_WITHIN_S):  # all are in use, but the server answers
                raise DatabaseUnavailable() from error

    def ping(self, timeout: float = 1.5) -> bool:
        """Whether `check` finds nothing wrong."""
        try:
            self.check(timeout)
        except TransientDatabaseError:
            return False
        return True

    def usage(self) -> dict[str, int]:
        """How many connections of the pool are in use, idle, and not open."""
        return self._pool.usage()

    def close(self) -> None:
        self._pool.close()

    def _guarded(self, work: Callable[[Transaction], T], *, autocommit: bool) -> T:
        try:
            return self._until_no_conflict(work, autocommit)
        except psycopg2.errors.LockNotAvailable as error:
            raise RowsLocked() from error
        except CONFLICTS as error:
            raise DatabaseBusy() from error
        except psycopg2.Error as error:
            if is_schema_mismatch(error):
                self._check_schema(error)
            if is_transient(error):
                raise DatabaseUnavailable() from error
            raise

    def _check_schema(self, error: psycopg2.Error) -> None:
        """:raises NotMigrated: if a missing migration explains `error`"""
        self._is_current = False
        try:
            self.check()
        except NotMigrated as reason:
            raise reason from error
        except DatabaseUnavailable:
            pass  # `error` remains the best explanation

    def _until_no_conflict(self, work: Callable[[Transaction], T], autocommit: bool) -> T:
        lock_wait = LockWait(self._sessions.lock_limit_s)
        for failures in range(1, TRIES):
            try:
                return self._try(work, autocommit, lock_wait)
            except CONFLICTS:
                if lock_wait.is_over:
                    raise
            time.sleep(random.random() * 0.01 * 2**failures)  # jitter keeps the same two transactions apart
        return self._try(work, autocommit, lock_wait)

    def _try(self, work: Callable[[Transaction], T], autocommit: bool, lock_wait: LockWait) -> T:
        by_itself = autocommit and not moments.separates_commits()
        with self._connection() as pooled:
            with pooled.connection.cursor() as cursor:
                tx = self._transaction(pooled, cursor, by_itself, lock_wait)
                result = work(tx)
                if autocommit and tx.has_end:
                    raise TypeError("a statement that commits by itself has no COMMIT to send another one with")
                if not by_itself:
                    moments.reached("participant.before_commit")
                    _commit(pooled.connection, tx)
            moments.reached("participant.after_commit")
            return result

    def _transaction(self, pooled: Pooled, cursor: Any, by_itself: bool, lock_wait: LockWait) -> Transaction:
        lock_wait.start()
        # A session without the limits is behind a pooler, where its prepared statements may be on another connection.
        known = pooled.prepared if self._prepares and not pooled.limits else None
        if by_itself:
            return Transaction(cursor, known=known, limits=pooled.limits, by_itself=True)
        return Transaction(cursor, "BEGIN; ", known, limits=pooled.limits, lock_wait=lock_wait)

    @contextmanager
    def _connection(self) -> Iterator[Pooled]:
        source = self._pool
        try:
            pooled = source.take(POOL_WAIT_S)
        except TimeoutError as error:
            raise DatabaseBusy() from error
        try:
            with watched(pooled.connection):
                yield pooled
        except BaseException as error:
            self._prepares = self._prepares and not isinstance(error, NOT_PREPARED)
            if not _rolled_back(pooled.connection, error):
                source.invalidate(pooled)  # whatever broke one connection has broken the idle ones too
            raise
        finally:
            source.give_back(pooled)

    def _is_alive(self, pooled: Pooled) -> bool:
        if time.monotonic() - pooled.used_at <= IDLE_CHECK_S:
            return True
        try:
            with watched(pooled.connection), pooled.connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error:
            return False
        return True

    def _check(self) -> None:
        try:
            with self._connection() as pooled, pooled.connection.cursor() as cursor:
                cursor.execute(version.IS_CURRENT)
                self._is_current = bool(cursor.fetchone()[0])
        except psycopg2.errors.UndefinedTable:
            self._is_current = False
        except psycopg2.errors.InsufficientPrivilege:  # the table exists, but this role has no right to it
            self._is_current = True
        if not self._is_current:
            raise NotMigrated()

    def _new_pool(self) -> Pool:
        return Pool(self._sessions.open, self._size, self._is_alive)

    def _forget_connections(self) -> None:
        self._pool = self._new_pool()
        self._health = HealthCheck(self._check)


def _commit(connection: Any, tx: Transaction) -> None:
    try:
        tx.commit()
    except psycopg2.Error as error:
        if is_lost(connection, error):
            raise CommitOutcomeUnknown() from error
        raise


def _rolled_back(connection: Any, error: BaseException) -> bool:
    """Roll back the transaction that `error` broke. :returns: whether the connection can be used again"""
    if not isinstance(error, STALE) and not is_lost(connection, error):
        with suppress(psycopg2.Error), watched(connection), connection.cursor() as cursor:
            if connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
                cursor.execute("ROLLBACK")
            return True
    return False
