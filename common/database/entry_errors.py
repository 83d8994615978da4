"""Decides whether one ledger entry may be the cause of an error, and describes the error for an operator."""

from __future__ import annotations

import psycopg2

from common.database.errors import TransientDatabaseError
from common.process.logs import without_secrets

# Lost connections, a read-only server, one that is out of resources or shutting down.
SERVER_ERRORS = ("08", "25006", "53", "57P")
# A lock that another session holds, or a statement that took too long: not the fault of an entry.
DELAYS = (psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled)
MAX_REASON = 500  # characters


def may_be_one_entry(error: Exception) -> bool:
    """Whether the same statement may succeed for the other entries."""
    code = getattr(_cause(error), "pgcode", None)
    if isinstance(error, TransientDatabaseError):
        return code is not None and not code.startswith(SERVER_ERRORS)
    return True


def is_delay(error: Exception) -> bool:
    return isinstance(_cause(error), DELAYS)


def is_from_database(error: Exception) -> bool:
    return isinstance(_cause(error), psycopg2.Error)


def reason(error: Exception) -> str:
    """The error in one line that can be stored and holds no personal data."""
    cause = _cause(error)
    # Only the primary message: the details contain the refused row.
    message = cause.diag.message_primary if isinstance(cause, psycopg2.Error) else None
    text = without_secrets(f"{type(cause).__name__}: {message or cause}")
    return "".join(character if character.isprintable() else " " for character in text)[:MAX_REASON]


def _cause(error: Exception) -> BaseException:
    return error.__cause__ or error if isinstance(error, TransientDatabaseError) else error
