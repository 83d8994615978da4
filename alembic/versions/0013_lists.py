"""The shop's own reference and metadata of an order, and what of it has been refunded.

Revision ID: holdfast_0013
Revises: holdfast_0012

No row is rewritten, and no lock on a table is held for long: each statement commits by itself. Every step can be
repeated.
"""

from alembic import op

revision = "holdfast_0013"
down_revision = "holdfast_0012"
branch_labels = None
depends_on = None

# Statements in one string are one transaction. One that waits for a table lock makes all later ones wait behind it, so
# it waits only briefly.
COLUMNS = """
SET LOCAL lock_timeout = '400ms';
ALTER TABLE order_ledger
  ADD COLUMN IF NOT EXISTS reference varchar(255) COLLATE "C",
  ADD COLUMN IF NOT EXISTS metadata jsonb,
  ADD COLUMN IF NOT EXISTS refunded_cents bigint NOT NULL DEFAULT 0,
  DROP CONSTRAINT IF EXISTS ck_order_ledger_refunded_cents,
  ADD CONSTRAINT ck_order_ledger_refunded_cents
    CHECK (refunded_cents BETWEEN 0 AND total_amount_cents) NOT VALID
"""
# Reads all rows, while others read and write the table.
VALIDATE = "ALTER TABLE order_ledger VALIDATE CONSTRAINT ck_order_ledger_refunded_cents"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        op.execute(COLUMNS)
        op.execute(VALIDATE)
        op.execute("RESET statement_timeout; RESET lock_timeout")


def downgrade() -> None:
    op.execute("ALTER TABLE order_ledger DROP COLUMN reference, DROP COLUMN metadata, DROP COLUMN refunded_cents")
