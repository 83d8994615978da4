"""Finds two faults of a database that come from outside: a changed sort order of text, and stale sequences.

`ops check` reports them, and the orchestrator logs them when it starts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from common.database.database import Database
from common.database.errors import TransientDatabaseError
from common.database.transaction import Row

log = logging.getLogger(__name__)

TRY_AGAIN_S = 5.0

COLLATION = """
SELECT quote_ident(datname) AS name, datcollversion AS built, pg_database_collation_actual_version(oid) AS actual
FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""
SEQUENCES = """
SELECT seqrelid::regclass::text AS sequence, refobjid::regclass::text AS table_name, quote_ident(attname) AS column_name
FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid
  JOIN pg_depend ON objid = seqrelid AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
  JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
WHERE relnamespace = current_schema()::regnamespace
"""
POSITION = """
SELECT last_value - (NOT is_called)::int AS at, (SELECT max({column_name}) FROM {table_name}) AS used FROM {sequence}
"""


class Problem(NamedTuple):
    what: str
    remedy: str
    """What to do: SQL statements if they can fix it."""


class Asks(Protocol):
    """A transaction, or a whole database."""

    def all(self, sql: str) -> list[Row]: ...


def changed_collation(database: Asks) -> Iterator[Problem]:
    for row in database.all(COLLATION):
        yield Problem(
            f"text was sorted by version {row['built']} of the database's collation, and the system has version"
            f" {row['actual']}: an index on text may not find its rows",
            f"REINDEX DATABASE {row['name']}; ALTER DATABASE {row['name']} REFRESH COLLATION VERSION",
        )


def stale_sequences(database: Asks) -> Iterator[Problem]:
    for found in database.all(SEQUENCES):
        (row,) = database.all(POSITION.format(**found))
        if row["used"] is not None and row["used"] > row["at"]:
            yield Problem(
                f"the sequence {found['sequence']} is at {row['at']}, and {found['table_name']} is at {row['used']}:"
                " new rows are refused",
                f"SELECT setval('{found['sequence']}', {row['used']})",
            )


def warn_once(database: Database) -> None:
    """Log both faults as soon as the database answers, from a separate thread."""
    threading.Thread(target=_warn, args=(database,), name="soundness", daemon=True).start()


def _warn(database: Asks) -> None:
    while True:
        try:
            problems = [*changed_collation(database), *stale_sequences(database)]
        except TransientDatabaseError:
            time.sleep(TRY_AGAIN_S)
            continue
        except Exception:  # a warning that fails must not stop orders
            log.exception("the database's collation and sequences could not be checked")
            return
        for problem in problems:
            log.warning("%s. To fix it: %s", *problem)
        return
