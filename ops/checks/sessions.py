"""Clocks, connections and the other sessions on the server."""

from __future__ import annotations

import time
from collections.abc import Iterator

from common.database.soundness import Problem
from ops.checks.look import Look

CLOCKS_DIFFER_S = 5.0
OLD_S = 60  # the audit may take longer; it is excluded by name
ORCHESTRATOR_CONNECTIONS = 10  # pools, LISTEN and its test, heartbeat, commands of operators
WEB_SERVICES = 4
CONSOLE_CONNECTIONS = 3  # of each worker, however many threads it has

CONNECTIONS = """
SELECT LEAST(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - COALESCE(current_setting('reserved_connections', true)::int, 0),
    NULLIF(datconnlimit, -1), NULLIF(rolconnlimit, -1)) AS allowed,
  (SELECT count(*) FROM client_sessions() WHERE application_name
    !~ '^(edge_api|orders_service|inventory_service|payments_service|console|orchestrator|holdfast)') AS others
FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user
"""
OLD_TRANSACTIONS = """
SELECT pid, COALESCE(NULLIF(application_name, ''), 'no name') AS name, state,
  extract(epoch FROM clock_timestamp() - xact_start)::int AS seconds
FROM client_sessions()
WHERE database = current_database() AND pid <> pg_backend_pid() AND application_name <> 'holdfast ops'
  AND clock_timestamp() - xact_start > %(old_s)s * interval '1 second'
ORDER BY xact_start
"""
PREPARED = """
SELECT quote_literal(gid) AS gid, extract(epoch FROM clock_timestamp() - prepared)::int AS seconds
FROM pg_prepared_xacts
WHERE database = current_database() AND clock_timestamp() - prepared > %(old_s)s * interval '1 second'
"""
UNUSED_SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE NOT active AND NOT temporary"


def clock(look: Look) -> Iterator[Problem]:
    before = time.time()
    (row,) = look.all("SELECT extract(epoch FROM clock_timestamp())::float AS at")
    after = time.time()
    ahead = max(row["at"] - after, before - row["at"])
    if ahead > CLOCKS_DIFFER_S:
        yield Problem(
            f"the clocks of the database and of this host differ by {ahead:.0f} s: tokens and signatures that one makes"
            " are too old for the other",
            "synchronize both clocks (NTP)",
        )


def connections(look: Look) -> Iterator[Problem]:
    (row,) = look.all(CONNECTIONS)
    of_worker = look.settings.web_threads * WEB_SERVICES + CONSOLE_CONNECTIONS
    needed = look.settings.web_concurrency * of_worker + ORCHESTRATOR_CONNECTIONS
    left = row["allowed"] - row["others"]
    if left < needed:
        yield Problem(
            f"the processes need up to {needed} connections, and {left} are left for them",
            f"ALTER SYSTEM SET max_connections = {needed + row['others'] + 20} and restart the server, or put a pooler"
            " in between, or lower WEB_CONCURRENCY or WEB_THREADS",
        )


def pooler(look: Look) -> Iterator[Problem]:
    """Detect a pooler: it reports its own process number to its clients."""
    (row,) = look.all("SELECT pg_backend_pid() AS pid")
    if row["pid"] != look.connection.info.backend_pid:
        yield Problem(
            "there is a connection pooler in between: notifications do not arrive, and orders wait for the next poll",
            "set DATABASE_DIRECT_URL to the server's own address",
        )


def transactions(look: Look) -> Iterator[Problem]:
    for row in look.all(OLD_TRANSACTIONS, old_s=OLD_S):
        yield Problem(
            f"the transaction of {row['name']} ({row['state']}) is {row['seconds']} s old: dead rows cannot be removed",
            f"SELECT pg_terminate_backend({row['pid']})",
        )
    for row in look.all(PREPARED, old_s=OLD_S):
        yield Problem(
            f"the prepared transaction {row['gid']} is {row['seconds']} s old and keeps its locks",
            f"ROLLBACK PREPARED {row['gid']}",
        )


def slots(look: Look) -> Iterator[Problem]:
    for row in look.all(UNUSED_SLOTS):
        yield Problem(
            f"nobody uses the replication slot {row['slot_name']}: the disk fills with what it keeps",
            f"SELECT pg_drop_replication_slot('{row['slot_name']}')",
        )
