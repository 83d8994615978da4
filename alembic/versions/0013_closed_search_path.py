"""A guard of the ledger with a closed search path, a stricter record of operators, and a view of all sessions.

Revision ID: holdfast_0013
Revises: holdfast_0012
"""

from alembic import op

revision = "holdfast_0013"
down_revision = "holdfast_0012"
branch_labels = None
depends_on = None

# The guard runs with the owner's rights. Where PUBLIC may create objects in our schema, somebody could make a function
# or an operator there that fits better than the one of pg_catalog, and it would run with these rights too.
REPLACE_GUARD = """
DO $$
DECLARE
  body text := prosrc FROM pg_proc WHERE oid = 'order_ledger_guard'::regproc;
  qualified text := format('%I.order_ledger_history ', current_schema());
BEGIN
  EXECUTE format('CREATE OR REPLACE FUNCTION order_ledger_guard() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, {path}pg_temp AS %L', {replaced});
END $$;
"""
CLOSE_PATH = REPLACE_GUARD.replace("{path}", "").replace(
    "{replaced}", "replace(body, 'order_ledger_history ', qualified)"
)
OPEN_PATH = REPLACE_GUARD.replace("{path}", "' || quote_ident(current_schema()) || ', ").replace(
    "{replaced}", "replace(body, qualified, 'order_ledger_history ')"
)
# now() is the start of the transaction, which a writer could have begun long before. The limit of 64 KiB keeps one row
# from filling the disk.
STRICT_RECORD = """
ALTER TABLE operator_log ALTER COLUMN at SET DEFAULT clock_timestamp(),
  ADD CONSTRAINT ck_operator_log_size
    CHECK (octet_length(actor) <= 1024 AND octet_length(action) <= 100 AND octet_length(details::text) <= 65536);
"""
FORMER_RECORD = """
ALTER TABLE operator_log ALTER COLUMN at SET DEFAULT now(), DROP CONSTRAINT ck_operator_log_size;
"""
# pg_stat_activity hides the sessions of other roles, and shows those who may see them the statements too, with e-mail
# addresses in them.
SESSIONS = """
CREATE FUNCTION client_sessions()
RETURNS TABLE (pid integer, database name, application_name text, state text, xact_start timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT pid, datname, application_name, state, xact_start FROM pg_stat_activity
  WHERE backend_type = 'client backend' OR backend_type IS NULL AND usename IS NOT NULL
$$;
REVOKE EXECUTE ON FUNCTION client_sessions() FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute(CLOSE_PATH)
    op.execute(STRICT_RECORD)
    op.execute(SESSIONS)


def downgrade() -> None:
    op.execute("DROP FUNCTION client_sessions()")
    op.execute(FORMER_RECORD)
    op.execute(OPEN_PATH)
