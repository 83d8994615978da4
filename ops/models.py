"""The record of operators (see common/database/operator_log.py), and a view of all sessions."""

from sqlalchemy import DDL, CheckConstraint, Column, DateTime, Index, Table, Text, event, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from common.schema.tables import metadata

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
