"""The table of the operators' record. Every process adds to it (see common/database/operator_log.py)."""

from sqlalchemy import DDL, Column, Index, Table, Text, event, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from common.schema.tables import metadata, time_column

operator_log = Table(
    "operator_log",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    time_column("at"),
    Column("database_role", Text, nullable=False, server_default=text("SESSION_USER")),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
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
