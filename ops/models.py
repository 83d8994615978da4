"""The record of operators (see common/database/operator_log.py), the audits that ran, a view of all sessions, and the
signs of life of the processes (common/heartbeats)."""

from sqlalchemy import (
    ARRAY,
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from common.schema.tables import identifier, metadata

operator_log = Table(
    "operator_log",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("database_role", Text, nullable=False, server_default=text("SESSION_USER")),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    CheckConstraint(
        "octet_length(actor) <= 1024 AND octet_length(action) <= 100 AND octet_length(details::text) <= 65536",
        name="size",
    ),
    Index(None, "at"),
    Index("ix_operator_log_actor_at", text('actor COLLATE "C"'), "at"),
    Index("ix_operator_log_action_at", text('action COLLATE "C"'), "at"),
    Index(
        "ix_operator_log_order_ledger_id",
        text('((details ->> \'order_ledger_id\'::text)) COLLATE "C"'),
        "at",
        postgresql_where=text("(details ->> 'order_ledger_id'::text) IS NOT NULL"),
    ),
)

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION '% only takes new rows: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER operator_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_log
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE operator_log ENABLE ALWAYS TRIGGER operator_log_is_append_only;
"""
event.listen(operator_log, "after_create", DDL(APPEND_ONLY.replace("%", "%%")))  # type: ignore[no-untyped-call]

# The last ones are kept. `violations`: how many of each rule. `examples`: up to a hundred of them.
audit_runs = Table(
    "audit_runs",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("took_ms", BigInteger, nullable=False),
    Column("healthy", Boolean, nullable=False),
    Column("violations", JSONB, nullable=False),
    Column("rows_found", BigInteger, nullable=False),
    Column("examples", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    CheckConstraint("took_ms >= 0", name="took_ms"),
    CheckConstraint("healthy = (rows_found = 0)", name="healthy"),
    Index(None, "at"),
)

# pg_stat_activity hides the sessions of other roles, and shows those who may see them the statements too, with e-mail
# addresses in them. A role that is neither a superuser nor a member of pg_read_all_stats finds no type of a session.
CLIENT_SESSIONS = """
CREATE FUNCTION client_sessions()
RETURNS TABLE (pid integer, database name, application_name text, state text, xact_start timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT pid, datname, application_name, state, xact_start FROM pg_stat_activity
  WHERE backend_type = 'client backend' OR backend_type IS NULL AND usename IS NOT NULL
$$;
REVOKE EXECUTE ON FUNCTION client_sessions() FROM PUBLIC;
"""
event.listen(operator_log, "after_create", DDL(CLIENT_SESSIONS))  # type: ignore[no-untyped-call]

# One row for each process that runs. One that is killed leaves its own, which becomes silent.
process_heartbeats = Table(
    "process_heartbeats",
    metadata,
    Column("instance", identifier(), primary_key=True),  # the name by which it claims
    Column("process", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("is_listening", Boolean),  # false: it polls only; null: it always polls
    Column("pools", JSONB, nullable=False),  # {name: {"in_flight": 1, "threads": 16}}
    Column("open_breakers", ARRAY(Text), nullable=False),  # participants that it does not call at the moment
    Column("loops", JSONB, nullable=False),  # {name: {"progressed_at": time, "every_s": its longest wait}}
)
