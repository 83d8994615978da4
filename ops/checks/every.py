"""All checks, in the order in which they are shown."""

from __future__ import annotations

from common.database.soundness import changed_collation, stale_sequences
from ops.checks import access, events, schema, server, sessions
from ops.checks.look import Check

CHECKS = (
    Check("migrations", "the schema is the one of this release", schema.migrations),
    Check("collation", "text is sorted as when the indexes were built", changed_collation),
    Check("sequences", "no sequence is behind its table", stale_sequences),
    Check("events", "the events are in order", events.numbers),
    Check("indexes", "every index is valid", schema.indexes),
    Check("constraints", "every constraint is validated", schema.constraints),
    Check("triggers", "every trigger is enabled", schema.triggers),
    Check("encoding", "the database stores all of Unicode", schema.encoding),
    Check("durability", "a commit survives a crash", server.durability),
    Check("writable", "the database accepts writes", server.writable),
    Check("isolation", "transactions are read committed", server.isolation),
    Check("timeouts", "no limit is shorter than ours", server.timeouts),
    Check("autovacuum", "dead rows are removed", server.autovacuum),
    Check("vacuum", "dead rows are removed in time", server.late_autovacuum),
    Check("logging", "the server's log shows no values", server.logging),
    Check("roles", "each process has a role with the rights that it needs", access.roles),
    Check("powers", "no process can take on other rights", access.powers),
    Check("owner", "no process owns the tables", access.owner),
    Check("encryption", "the connection to the database is encrypted or local", access.encryption),
    Check("passwords", "the server stores passwords as SCRAM verifiers", access.passwords),
    Check("services", "calls to other hosts are encrypted", access.services),
    Check("clock", "the database and this host have the same time", sessions.clock),
    Check("connections", "there are enough for every process", sessions.connections),
    Check("pooler", "connections are direct", sessions.pooler),
    Check("transactions", "none has been open for long", sessions.transactions),
    Check("slots", "every replication slot is in use", sessions.slots),
)
