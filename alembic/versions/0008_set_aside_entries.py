"""A table for entries that the database refuses to write, and the audit's views of them.

Revision ID: holdfast_0008
Revises: holdfast_0007
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0008"
down_revision = "holdfast_0007"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE set_aside_entries (
  order_ledger_id uuid NOT NULL,
  reason text NOT NULL,
  since timestamptz DEFAULT now() NOT NULL,
  retry_at timestamptz,
  CONSTRAINT pk_set_aside_entries PRIMARY KEY (order_ledger_id)
)
"""
VIEWS = """
CREATE OR REPLACE VIEW audit_attention AS
SELECT id AS order_ledger_id, status, needs_attention_at, attention_reason, retry_count, due_at
FROM order_ledger WHERE needs_attention_at IS NOT NULL
UNION ALL
SELECT entry.id, entry.status, aside.since, aside.reason, entry.retry_count, aside.retry_at
FROM set_aside_entries aside JOIN order_ledger entry ON entry.id = aside.order_ledger_id
WHERE aside.retry_at IS NOT NULL AND entry.due_at IS NOT NULL AND entry.needs_attention_at IS NULL;

CREATE OR REPLACE VIEW audit_summary AS
SELECT count(*) AS orders, count(due_at) AS open_orders,
  (SELECT count(*) FROM audit_attention) AS needs_attention
FROM order_ledger;

-- Two days: an order may wait for its client for one, for a retry usually for a minute.
CREATE OR REPLACE VIEW audit_stuck AS
SELECT 'order_ledger ' || id AS subject, status || CASE
    WHEN is_far THEN ', and not due before ' || free_at
    ELSE COALESCE(', due since ' || due_at || ' and claimed by nobody', ', and never due') END AS detail
FROM (
  SELECT id, status, due_at, claimed_until, GREATEST(due_at, claimed_until) AS free_at,
    COALESCE(GREATEST(due_at, claimed_until) > now() + interval '2 days', false) AS is_far
  FROM order_ledger
  WHERE status NOT IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') AND needs_attention_at IS NULL
    AND NOT EXISTS (SELECT FROM set_aside_entries WHERE order_ledger_id = order_ledger.id AND retry_at IS NOT NULL)
) open_orders
WHERE is_far OR (claimed_until IS NULL OR claimed_until <= now())
  AND (due_at IS NULL OR due_at < now() - CASE status WHEN 'AWAITING_AUTHORIZATION' THEN interval '120 s'
    ELSE interval '60 s' END);
"""
FORMER_VIEWS = Path(__file__).with_name("0005_audit.sql").read_text(encoding="utf-8")


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(VIEWS)


def downgrade() -> None:
    for name in ("audit_stuck", "audit_summary", "audit_attention"):
        (view,) = re.findall(rf"^CREATE VIEW {name} AS\n.*?;$", FORMER_VIEWS, re.MULTILINE | re.DOTALL)
        op.execute(view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    op.execute("DROP TABLE set_aside_entries")
