"""What was dealt with leaves the view of what needs attention. Audits keep rows. More ids are found.

Revision ID: holdfast_0030
Revises: holdfast_0029

The condition of the view is that of common/attention/conditions.py. The indexes are for the console's search, and for
the sessions of one name. Every step can be repeated.
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0030"
down_revision = "holdfast_0029"
branch_labels = None
depends_on = None

# As in 0017.
BRIEFLY = "SET LOCAL lock_timeout = '400ms';"
IS_DEALT_WITH = """((SELECT mark.retry_count = entry.retry_count AND mark.at >= entry.needs_attention_at
  FROM dealt_with mark WHERE mark.subject_id = entry.id) IS TRUE)"""
VIEW = f"""{BRIEFLY}
CREATE OR REPLACE VIEW audit_attention AS
SELECT id AS order_ledger_id, status, needs_attention_at, attention_reason, retry_count, due_at, NULL::uuid AS refund_id
FROM order_ledger entry WHERE needs_attention_at IS NOT NULL AND NOT {IS_DEALT_WITH}
UNION ALL
SELECT entry.id, entry.status, aside.since, aside.reason, entry.retry_count, aside.retry_at, NULL
FROM set_aside_entries aside JOIN order_ledger entry ON entry.id = aside.order_ledger_id
WHERE aside.retry_at IS NOT NULL AND entry.due_at IS NOT NULL AND entry.needs_attention_at IS NULL
UNION ALL
SELECT order_ledger_id, status, needs_attention_at, attention_reason, retry_count, due_at, id
FROM refunds entry WHERE needs_attention_at IS NOT NULL AND NOT {IS_DEALT_WITH}
UNION ALL
SELECT refund.order_ledger_id, refund.status, aside.since, aside.reason, refund.retry_count, aside.retry_at, refund.id
FROM set_aside_refunds aside JOIN refunds refund ON refund.id = aside.refund_id
WHERE aside.retry_at IS NOT NULL AND refund.due_at IS NOT NULL AND refund.needs_attention_at IS NULL
"""
ROWS = f"{BRIEFLY} ALTER TABLE audit_runs ADD COLUMN IF NOT EXISTS examples jsonb DEFAULT '[]'::jsonb NOT NULL"
WITHOUT_ROWS = f"{BRIEFLY} ALTER TABLE audit_runs DROP COLUMN IF EXISTS examples"
INDEXES = {
    "ix_refunds_request_id": 'refunds (request_id COLLATE "C")',
    "ix_refunds_idempotency_key": "refunds (idempotency_key)",
    "ix_operator_sessions_name": "operator_sessions (name)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        for statement in (VIEW, ROWS):
            op.execute(statement)
        for name, columns in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted attempt left
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")
        op.execute("RESET statement_timeout; RESET lock_timeout")


def downgrade() -> None:
    op.execute(f"DROP INDEX IF EXISTS {', '.join(INDEXES)}")
    op.execute(WITHOUT_ROWS)
    script = Path(__file__).with_name("0017_audit.sql").read_text(encoding="utf-8")
    (view,) = re.findall(r"CREATE OR REPLACE VIEW audit_attention AS[^;]*;", script)
    op.execute(view)
