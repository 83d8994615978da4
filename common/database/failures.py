"""The meaning of a psycopg2 error for its transaction and its connection."""

from __future__ import annotations

from typing import Any

import psycopg2
import psycopg2.errors

from common.database.errors import CommitOutcomeUnknown

NOT_PREPARED = (  # behind a pooler in transaction mode, the next statement may run on another server connection
    psycopg2.errors.InvalidSqlStatementName,  # 26000
    psycopg2.errors.DuplicatePreparedStatement,  # 42P05
)
# After one of these, the whole transaction is tried again.
CONFLICTS = (
    psycopg2.errors.SerializationFailure,  # 40001
    psycopg2.errors.DeadlockDetected,  # 40P01
    psycopg2.errors.LockNotAvailable,  # 55P03
    psycopg2.errors.FeatureNotSupported,  # 0A000: a migration has changed a table that a prepared statement reads
    *NOT_PREPARED,
)
# The connection may lead to a server that is no longer the primary, or keep a plan from before a migration.
STALE = (psycopg2.errors.ReadOnlySqlTransaction, psycopg2.errors.FeatureNotSupported)
# Refused connections, shutdown, full disk, too many connections, a read-only server: these pass. So does an undefined
# table or column while a migration runs, and a missing right until it has given the new tables to the roles.
TRANSIENT_CLASSES = ("08", "53", "57", "58", "25006", "XX", "42P01", "42703", "42501")
# The statement does not fit the schema: an undefined table, column, schema, function, operator or type, a column of
# another type, or no such unique constraint.
SCHEMA_MISMATCHES = ("42P01", "42703", "3F000", "42883", "42704", "42804", "42P10")


def is_transient(error: psycopg2.Error) -> bool:
    """Whether the same statement may succeed later: the connection was lost, or the server is not able to now."""
    if error.pgcode is None:  # libpq noticed a lost connection; which of these it is depends on where
        return isinstance(error, psycopg2.InterfaceError | psycopg2.OperationalError) or _is_crash(error)
    return error.pgcode.startswith(TRANSIENT_CLASSES)


def is_schema_mismatch(error: psycopg2.Error) -> bool:
    """Whether the cause may be that the database lacks a migration."""
    return error.pgcode in SCHEMA_MISMATCHES


def is_lost(connection: Any, error: BaseException) -> bool:
    return bool(connection.closed) or _is_crash(error) or isinstance(error, CommitOutcomeUnknown)


def _is_crash(error: BaseException) -> bool:
    """Whether the server crashed: psycopg2 then may raise its base class and report the connection as open."""
    return type(error) is psycopg2.DatabaseError and error.pgcode is None
