"""PostgreSQL through psycopg2: a bounded pool, one way to run a transaction, one reading of what went wrong.

The statements are plain SQL and stand with the verbs that need them; docs/decisions/0001 says why.
"""

from __future__ import annotations

import os
import select
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import backoff
import psycopg2
import psycopg2.extensions
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from common.database.errors import CommitOutcomeUnknown, DatabaseBusy, DatabaseUnavailable
from common.database.pool import Pool, Pooled
from common.database.prepared import prepared
from common.database.watch import watched
from common.process import moments

T = TypeVar("T")
Row = dict[str, Any]

POOL_WAIT_S = 2.0  # a request that gets no connection in this time is answered 503
IDLE_CHECK_S = 1.0  # a connection unused for longer is asked whether it is alive: the server may have restarted
SESSION: dict[str, Any] = {
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms; a server that vanished is noticed in mid-statement too
    "options": "-c timezone=UTC -c statement_timeout=5000 -c lock_timeout=2000"
    " -c idle_in_transaction_session_timeout=10000"
    # Every statement finds its rows by a key. While a table is small or its statistics are old, the planner would read
    # it whole, and hash it, again and again.
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
    " -c plan_cache_mode=force_generic_plan",
}
NOT_PREPARED = (  # behind a pooler in transaction mode, where the next statement may go another way
    psycopg2.errors.InvalidSqlStatementName,  # 26000
    psycopg2.errors.DuplicatePreparedStatement,  # 42P05
)
# What is tried again, the whole transaction.
CONFLICTS = (
    psycopg2.errors.SerializationFailure,  # 40001
    psycopg2.errors.DeadlockDetected,  # 40P01
    psycopg2.errors.LockNotAvailable,  # 55P03
    psycopg2.errors.FeatureNotSupported,  # 0A000: a migration has changed a table that a prepared statement reads
    *NOT_PREPARED,
)
# Refused connections, shutdown, full disk, too many connections, a server gone read-only: it will pass.
# A missing table, column or function: the migration of this release is still running.
TRANSIENT_CLASSES = ("08", "53", "57", "58", "25006", "XX", "42P01", "42703", "42883")


class Transaction:
    """Statements of one transaction. Rows are dicts; a UUID is text, a time is aware and in UTC."""

    def __init__(self, cursor: Any, opening: str = "", known: set[str] | None = None) -> None:
        """
        :param opening: goes with the first statement, which saves a round trip
        :param known: the names of what this connection has prepared; None: nothing is to be prepared
        """
        self._cursor, self._opening, self._known = cursor, opening, known
        self._closing = b""

    def all(self, sql: str, **params: Any) -> list[Row]:
        self.execute(sql, **params)
        if not self._cursor.description:
            return []
        names = [column.name for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]

    def one(self, sql: str, **params: Any) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def execute(self, sql: str, **params: Any) -> int:
        """:returns: how many rows were changed"""
        text = self._prepared(sql)
        opening, self._opening = self._opening, ""
        self._cursor.execute(opening + text, params)
        return int(self._cursor.rowcount)

    def execute_at_the_end(self, sql: str, **params: Any) -> None:
        """Along with COMMIT, which saves a round trip: for what nobody asks the outcome of. Within `transact` only."""
        if moments.separates_commits():  # a test looks at the moment between the two
            self.execute(sql, **params)
            return
        self._closing += self._cursor.mogrify(self._prepared(sql), params) + b"; "

    @property
    def has_end(self) -> bool:
        return bool(self._closing)

    def commit(self) -> None:
        self._cursor.execute(self._opening.encode() + self._closing + b"COMMIT")

    def _prepared(self, sql: str) -> str:
        if self._known is None or (statement := prepared(sql)) is None:
            return sql
        if statement.name not in self._known:
            self._cursor.execute(statement.prepare)
            self._known.add(statement.name)
        return statement.execute


class Database:
    """A pool of at most `size` connections of this process: none before the first statement, none shared over fork."""

    def __init__(self, url: str, *, name: str, size: int) -> None:
        self.url, self._name, self._size = url, name, size
        self._prepares = True
        self._pool = self._new_pool()
        forget = weakref.WeakMethod(self._forget_connections)  # the hook is for ever, the pool need not be
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction and commit; after a conflict with another transaction the whole of it again.

        :raises DatabaseBusy: when three more tries met a conflict too
        :raises DatabaseUnavailable: when there is no connection, or it was lost before COMMIT; nothing is saved
        :raises CommitOutcomeUnknown: when it was lost in COMMIT; the change may be saved
        """
        return self._guarded(work, autocommit=False)

    def one(self, sql: str, **params: Any) -> Row | None:
        """A single statement that commits by itself, without a round trip for BEGIN and one for COMMIT."""
        return self.statement(lambda tx: tx.one(sql, **params))

    def all(self, sql: str, **params: Any) -> list[Row]:
        """As `one`, for all the rows."""
        return self.statement(lambda tx: tx.all(sql, **params))

    def statement(self, work: Callable[[Transaction], T]) -> T:
        """As `one`, where `work` is that one statement and what goes with it."""
        return self._guarded(work, autocommit=True)

    def ping(self, timeout: float = 1.5) -> bool:
        """Whether the database answers a new connection within `timeout` seconds, whatever state it is in."""
        try:
            connection = open_async(self.url, f"{self._name} health", deadline := time.monotonic() + timeout)
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    wait(connection, deadline)
            finally:
                connection.close()
        except (psycopg2.Error, TimeoutError):
            return False
        return True

    def close(self) -> None:
        self._pool.close()

    def _guarded(self, work: Callable[[Transaction], T], *, autocommit: bool) -> T:
        try:
            return self._until_no_conflict(work, autocommit)
        except CONFLICTS as error:
            raise DatabaseBusy() from error
        except psycopg2.Error as error:
            if is_transient(error):
                raise DatabaseUnavailable() from error
            raise

    @backoff.on_exception(backoff.expo, CONFLICTS, max_tries=4, factor=0.01, logger=None)
    def _until_no_conflict(self, work: Callable[[Transaction], T], autocommit: bool) -> T:
        with self._connection() as pooled:
            by_itself = autocommit and not moments.separates_commits()
            with pooled.connection.cursor() as cursor:
                tx = Transaction(cursor, "" if by_itself else "BEGIN; ", pooled.prepared if self._prepares else None)
                result = work(tx)
                if autocommit and tx.has_end:
                    raise TypeError("what commits by itself has no end for another statement to go along with")
                if not by_itself:
                    moments.reached("participant.before_commit")
                    _commit(pooled.connection, tx)
            moments.reached("participant.after_commit")
            return result

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
                source.outdate(pooled)  # what one connection met, the idle ones have met too
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

    def _new_pool(self) -> Pool:
        return Pool(self._open, self._size, self._is_alive)

    def _open(self) -> Any:
        connection = psycopg2.connect(self.url, application_name=self._name, **SESSION)
        connection.autocommit = True  # BEGIN and COMMIT are ours to send
        return connection

    def _forget_connections(self) -> None:
        self._pool = self._new_pool()


def is_transient(error: psycopg2.Error) -> bool:
    """Whether the same statement may succeed later: the connection was lost, or the server is not able to now."""
    if error.pgcode is None:  # a lost connection is any of these, depending on where libpq noticed it
        return isinstance(error, psycopg2.InterfaceError | psycopg2.OperationalError) or _is_crash(error)
    return error.pgcode.startswith(TRANSIENT_CLASSES)


def _is_crash(error: BaseException) -> bool:
    """Whether psycopg2 met the crash of a server: then it may raise its base class, and call the connection open."""
    return type(error) is psycopg2.DatabaseError and error.pgcode is None


def _is_lost(connection: Any, error: BaseException) -> bool:
    return bool(connection.closed) or _is_crash(error) or isinstance(error, CommitOutcomeUnknown)


def _commit(connection: Any, tx: Transaction) -> None:
    try:
        tx.commit()
    except psycopg2.Error as error:
        if _is_lost(connection, error):
            raise CommitOutcomeUnknown() from error
        raise


def _rolled_back(connection: Any, error: BaseException) -> bool:
    """Undo what `error` broke off. :returns: whether the connection can be used again"""
    # Read-only may be this connection's own setting, or it leads to a server that is the primary no more.
    is_outdated = isinstance(error, psycopg2.errors.ReadOnlySqlTransaction | psycopg2.errors.FeatureNotSupported)
    if not is_outdated and not _is_lost(connection, error):
        with suppress(psycopg2.Error), watched(connection), connection.cursor() as cursor:
            if connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
                cursor.execute("ROLLBACK")
            return True
    return False


def open_async(url: str, name: str, deadline: float) -> Any:
    """A connection whose every wait can be bounded with `wait`; each statement commits by itself.

    :raises TimeoutError: when it is not open at `deadline` (of the monotonic clock, in seconds)
    """
    connection = psycopg2.connect(url, async_=True, application_name=name, **SESSION)
    try:
        wait(connection, deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def wait(connection: Any, deadline: float) -> None:
    """Drive an asynchronous connection with select() until it is ready. :raises TimeoutError: at `deadline`"""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        left = deadline - time.monotonic()
        reading = [connection] if state == psycopg2.extensions.POLL_READ else []
        writing = [connection] if state == psycopg2.extensions.POLL_WRITE else []
        if left <= 0 or not any(select.select(reading, writing, [], left)):
            raise TimeoutError("the database did not answer in time")
