"""The sessions of operators, for admins: list them, and end all sessions of one name."""

from __future__ import annotations

from common.database import operator_log
from common.database.database import Database, Row, Transaction
from console import session_statements as statements
from console.jobs import record
from console.writes import Done, Write, within

MAX_NAMES = 200


def names(database: Database) -> list[Row]:
    """The operators who are signed in: `name`, the number of `sessions`, and when the last one began and ends."""
    return database.all(statements.NAMES, limit=MAX_NAMES)


def end(database: Database, by: str, key: str, name: str) -> Done:
    """End all sessions of a name, and stop its jobs that were made without a key.

    A provider of OpenID Connect may let the operator sign in again.

    :returns: how many `sessions` and `jobs`
    """

    def work(tx: Transaction) -> Row:
        ended = len(tx.all(statements.END, name=name))
        stopped = tx.all(statements.STOP_JOBS, name=name, actor=by)
        for job in stopped:
            record(tx, by, "stop", job["job_id"], done=job["done"], refused=job["refused"])
        result = {"name": name, "sessions": ended, "jobs": len(stopped)}
        operator_log.add(tx, by, "operators.end_sessions", result)
        return result

    return within(database, Write(by, key, "operators.end_sessions", {"name": name}), work, is_recorded=True)
