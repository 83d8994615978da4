"""The server's settings: are commits durable, is it writable, does it log private data?"""

from __future__ import annotations

from collections.abc import Iterator

from common.database.soundness import Problem
from ops.checks.look import Look

# Our statements contain their values. DETAIL contains whole rows, and the statements of other sessions.
LOGS_NO_VALUES = {
    "log_statement": ("none", "ddl"),
    "log_min_duration_statement": ("-1",),
    "log_min_duration_sample": ("-1",),
    "log_transaction_sample_rate": ("0",),
    "log_min_error_statement": ("panic",),
    "log_error_verbosity": ("terse",),
    "auto_explain.log_min_duration": ("-1",),
    "pgaudit.log": ("none",),
}
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
DURABLE_ENOUGH = ("on", "local", "remote_write", "remote_apply")
# The shortest limits, in milliseconds, that leave our own limits in force; 0 means unlimited.
TIMEOUTS = {
    "statement_timeout": 5_000,
    "lock_timeout": 2_000,
    "idle_in_transaction_session_timeout": 10_000,
    "transaction_timeout": 10_000,
    "idle_session_timeout": 60_000,  # the orchestrator's LISTEN connection is silent for 4 s
}
# A table is vacuumed when so many of its rows, plus this share of them, are dead. PostgreSQL's defaults are 50 and 0.2.
LATEST_VACUUM = {"autovacuum_vacuum_threshold": 1_000.0, "autovacuum_vacuum_scale_factor": 0.2}
LATE_TABLES = """
SELECT oid::regclass::text AS name, split_part(option, '=', 2) AS value FROM pg_class, unnest(reloptions) AS option
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
  AND split_part(option, '=', 1) = %(option)s AND split_part(option, '=', 2)::float > %(limit)s::float
"""
UNVACUUMED = """
SELECT oid::regclass::text AS name FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND 'autovacuum_enabled=false' = ANY (reloptions)
"""


def logging(look: Look) -> Iterator[Problem]:
    for name, harmless in LOGS_NO_VALUES.items():
        value = look.server.get(name, harmless[0])
        if value not in harmless:
            yield Problem(
                f"with {name} = {value} the server's log shows values of statements, such as e-mail addresses",
                look.set(name, harmless[0]),
            )


def durability(look: Look) -> Iterator[Problem]:
    for name, value in DURABLE.items():
        found = look.server[name]
        if found != value and not (name == "synchronous_commit" and found in DURABLE_ENOUGH):
            statement = f"ALTER SYSTEM SET {name} = '{value}'; SELECT pg_reload_conf()"
            yield Problem(
                f"with {name} = {found} a crash can lose orders that were confirmed to the client",
                look.set(name, value) if name == "synchronous_commit" else statement,
            )


def writable(look: Look) -> Iterator[Problem]:
    if look.all("SELECT pg_is_in_recovery() AS standby")[0]["standby"]:
        yield Problem("this server is a standby", "set DATABASE_URL to the primary (target_session_attrs=read-write)")
    if look.server["default_transaction_read_only"] != "off":
        name = "default_transaction_read_only"
        yield Problem("transactions are read-only by default", f"SET {name} = 'off'; {look.set(name, 'off')}")


def isolation(look: Look) -> Iterator[Problem]:
    level = look.server["default_transaction_isolation"]
    if level != "read committed":
        yield Problem(
            f"transactions are {level} by default: concurrent orders fail",
            look.set("default_transaction_isolation", "read committed"),
        )


def timeouts(look: Look) -> Iterator[Problem]:
    for name, shortest in TIMEOUTS.items():
        value = int(look.server.get(name, "0"))
        if 0 < value < shortest:
            yield Problem(f"{name} is {value} ms, shorter than the {shortest} ms that we need", look.set(name, "0"))


def late_autovacuum(look: Look) -> Iterator[Problem]:
    """Each ledger row is updated about ten times. A late vacuum lets the table grow and slows down claims."""
    for name, limit in LATEST_VACUUM.items():
        if float(look.server[name]) > limit:
            yield Problem(
                f"{name} is {look.server[name]}, and dead rows slow down claims above {limit:g}",
                f"ALTER SYSTEM SET {name} = {limit:g}; SELECT pg_reload_conf()",
            )
        for row in look.all(LATE_TABLES, option=name, limit=limit):
            yield Problem(
                f"{name} of {row['name']} is {row['value']}, and dead rows slow down claims above {limit:g}",
                f"ALTER TABLE {row['name']} RESET ({name})",
            )


def autovacuum(look: Look) -> Iterator[Problem]:
    for name in ("autovacuum", "track_counts"):
        if look.server[name] != "on":
            statement = f"ALTER SYSTEM SET {name} = 'on'; SELECT pg_reload_conf()"
            yield Problem(f"{name} is off: tables grow without end", statement)
    for row in look.all(UNVACUUMED):
        yield Problem(
            f"autovacuum is off for {row['name']}: it grows without end",
            f"ALTER TABLE {row['name']} RESET (autovacuum_enabled)",
        )
