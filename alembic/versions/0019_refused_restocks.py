"""The products that a refund could not put back into stock, and the erasure of notes that come late.

Revision ID: holdfast_0019
Revises: holdfast_0018

No row is rewritten, and no lock on the table is held for long: each statement commits by itself. Every step can be
repeated.
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0019"
down_revision = "holdfast_0018"
branch_labels = None
depends_on = None

HERE = Path(__file__)
# As in 0017. The same as in edge_api/refund_models.py, where it is explained.
BRIEFLY = "SET LOCAL lock_timeout = '400ms';"
COLUMN = f"""{BRIEFLY}
ALTER TABLE refunds
  ADD COLUMN IF NOT EXISTS not_restocked uuid[] DEFAULT '{{}}'::uuid[] NOT NULL,
  DROP CONSTRAINT IF EXISTS ck_refunds_not_restocked,
  ADD CONSTRAINT ck_refunds_not_restocked CHECK (not_restocked = '{{}}'
    OR restock AND status NOT IN ('REQUESTED', 'FAILED') AND NOT not_restocked && restocked) NOT VALID
"""
VALIDATE = "ALTER TABLE refunds VALIDATE CONSTRAINT ck_refunds_not_restocked"
GUARD, FORMER_GUARD, VIEW, FORMER_VIEWS = (
    HERE.with_name(name).read_text(encoding="utf-8")
    for name in ("0019_refunds_guard.sql", "0017_refunds_guard.sql", "0019_audit.sql", "0017_audit.sql")
)
# As in 0017: the owner's rights, and a closed search path.
AS_OWNER = r"""
DO $$
DECLARE
  schema text := quote_ident(current_schema());
BEGIN
  EXECUTE (SELECT format('CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', proname, regexp_replace(prosrc,
    '(FROM|INTO|PERFORM|UPDATE|entry) '
      '(order_ledger|order_ledger_items|refunds|refund_items|add_event|pending_erasures)\M',
    '\1 ' || schema || '.\2', 'g')) FROM pg_proc WHERE oid = 'refund_guard'::regproc);
END $$;
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        op.execute(COLUMN)
        op.execute(VALIDATE)
        op.execute(BRIEFLY + GUARD + AS_OWNER)
        op.execute(VIEW)
        op.execute("RESET statement_timeout; RESET lock_timeout")


def _former(kind: str, name: str, script: str, end: str) -> str:
    (text,) = re.findall(rf"^CREATE {kind} ({name}\b.*?{end};)$", script, re.MULTILINE | re.DOTALL)
    return str(text)


def downgrade() -> None:
    op.execute("CREATE OR REPLACE VIEW " + _former("VIEW", "audit_refunds", FORMER_VIEWS, ""))
    op.execute("DROP TRIGGER refunds_move ON refunds")
    op.execute("CREATE OR REPLACE FUNCTION " + _former("FUNCTION", "refund_guard", FORMER_GUARD, r"\$\$"))
    op.execute(AS_OWNER)
    op.execute("CREATE TRIGGER " + _former("TRIGGER", "refunds_move", FORMER_GUARD, ""))
    op.execute("ALTER TABLE refunds DROP COLUMN not_restocked")
