"""A record of operators that only takes new rows, and a history that no role of a process can write.

Revision ID: holdfast_0010
Revises: holdfast_0009
"""

from alembic import op

revision = "holdfast_0010"
down_revision = "holdfast_0009"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE operator_log (
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  database_role text DEFAULT session_user NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  details jsonb DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT pk_operator_log PRIMARY KEY (id)
);
CREATE INDEX ix_operator_log_at ON operator_log (at);
"""
# A statement's trigger, because TRUNCATE has no rows. ALWAYS: session_replication_role = replica does not disable it.
APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION '% only takes new rows: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER operator_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_log
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE operator_log ENABLE ALWAYS TRIGGER operator_log_is_append_only;
"""
# The trigger writes the history with the rights of the table's owner, so that no role of a process needs any. Nobody
# may attach the function to another table, whose rows it would take for entries. pg_temp comes last: otherwise a
# temporary table would hide the real one.
AS_OWNER = """
DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION order_ledger_guard() SECURITY DEFINER SET search_path = pg_catalog, %I, pg_temp',
    current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION order_ledger_guard() FROM PUBLIC;
"""
AS_CALLER = """
ALTER FUNCTION order_ledger_guard() SECURITY INVOKER RESET search_path;
GRANT EXECUTE ON FUNCTION order_ledger_guard() TO PUBLIC;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(APPEND_ONLY)
    op.execute(AS_OWNER)


def downgrade() -> None:
    op.execute(AS_CALLER)
    op.execute("DROP TABLE operator_log")
    op.execute("DROP FUNCTION refuse_change()")
