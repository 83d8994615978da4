"""The schema: is it this release's, and is every index, constraint and trigger in force?"""

from __future__ import annotations

from collections.abc import Iterator

from common.database import version
from common.database.soundness import Problem
from ops.checks.look import Look

MIGRATE = "python -m ops migrate"

INVALID_INDEXES = """
SELECT indexrelid::regclass::text AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace AND NOT (indisvalid AND indisready)
"""
# In PostgreSQL 18, a constraint that is not enforced is not validated either.
INVALID_CONSTRAINTS = """
SELECT conrelid::regclass::text AS table_name, quote_ident(conname) AS name FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND NOT convalidated
"""
# Foreign keys are triggers too, with names that PostgreSQL generates.
DISABLED_TRIGGERS = """
SELECT tgrelid::regclass::text AS table_name, CASE WHEN bool_or(tgisinternal) THEN 'ALL' ELSE 'USER' END AS which,
  count(*) AS number
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = current_schema()::regnamespace AND tgenabled NOT IN ('O', 'A') GROUP BY tgrelid ORDER BY 1
"""


def migrations(look: Look) -> Iterator[Problem]:
    if not look.all(f"SELECT 1 WHERE to_regclass('{version.TABLE}') IS NOT NULL"):
        yield Problem("the database is not migrated", MIGRATE)
        return
    found = {str(row["version_num"]) for row in look.all(f"SELECT version_num FROM {version.TABLE}")}
    if not found or max(found) < version.NEWEST:
        at = ", ".join(found) or "nothing"
        yield Problem(f"the schema is at {at}, and this release needs {version.NEWEST}", MIGRATE)


def indexes(look: Look) -> Iterator[Problem]:
    for row in look.all(INVALID_INDEXES):
        yield Problem(f"the index {row['name']} is invalid", f"REINDEX INDEX CONCURRENTLY {row['name']}")


def constraints(look: Look) -> Iterator[Problem]:
    for row in look.all(INVALID_CONSTRAINTS):
        yield Problem(
            f"the constraint {row['name']} of {row['table_name']} was never validated",
            f"ALTER TABLE {row['table_name']} VALIDATE CONSTRAINT {row['name']}",
        )


def triggers(look: Look) -> Iterator[Problem]:
    for row in look.all(DISABLED_TRIGGERS):
        yield Problem(
            f"{row['number']} triggers of {row['table_name']} are disabled: nothing guards its rows",
            f"ALTER TABLE {row['table_name']} ENABLE TRIGGER {row['which']}",
        )
    if look.server["session_replication_role"] != "origin":
        yield Problem(
            f"sessions have session_replication_role = {look.server['session_replication_role']}: no trigger runs",
            look.set("session_replication_role", "origin"),
        )


def encoding(look: Look) -> Iterator[Problem]:
    if look.server["server_encoding"] != "UTF8":
        yield Problem(
            f"the database's encoding is {look.server['server_encoding']}: it cannot store every name",
            "create a database with ENCODING 'UTF8' TEMPLATE template0, and move the data",
        )
