"""Tables and columns for retention and erasure, and an audit that knows what was deleted on purpose.

Revision ID: holdfast_0012
Revises: holdfast_0011
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0012"
down_revision = "holdfast_0011"
branch_labels = None
depends_on = None

# The same as in the models, where they are explained. No row is rewritten.
TABLES = """
ALTER TABLE order_ledger ADD COLUMN history_deleted_at timestamptz, ADD COLUMN event_deleted_at timestamptz;

CREATE TABLE pending_erasures (
  order_ledger_id uuid NOT NULL,
  requested_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_pending_erasures PRIMARY KEY (order_ledger_id)
);

CREATE TABLE deleted_reservations (
  product_id uuid NOT NULL,
  quantity bigint NOT NULL,
  CONSTRAINT pk_deleted_reservations PRIMARY KEY (product_id),
  CONSTRAINT ck_deleted_reservations_quantity CHECK (quantity > 0)
);
"""
VIEWS = Path(__file__).with_name("0012_audit.sql").read_text(encoding="utf-8")
FORMER_VIEWS = Path(__file__).with_name("0005_audit.sql").read_text(encoding="utf-8")

# The stock must still equal the adjustments less the reservations.
KEEP_STOCK = """
INSERT INTO inventory_adjustments (id, product_id, quantity, reason, notes)
SELECT gen_random_uuid(), product_id, -quantity, 'correction', 'sold in orders that were deleted'
FROM deleted_reservations
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(VIEWS)


def downgrade() -> None:
    op.execute(KEEP_STOCK)
    for name in ("audit_stock", "audit_outbox", "audit_history"):
        (view,) = re.findall(rf"^CREATE VIEW {name} AS\n.*?;$", FORMER_VIEWS, re.MULTILINE | re.DOTALL)
        op.execute(view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    op.execute("DROP TABLE deleted_reservations, pending_erasures")
    op.execute("ALTER TABLE order_ledger DROP COLUMN history_deleted_at, DROP COLUMN event_deleted_at")
