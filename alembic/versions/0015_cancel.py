"""Cancellations of orders, and the keys of the calls that change an order.

Revision ID: holdfast_0015
Revises: holdfast_0014
"""

from alembic import op

revision = "holdfast_0015"
down_revision = "holdfast_0014"
branch_labels = None
depends_on = None

# The same as in the models. No row is rewritten.
COLUMNS = """
ALTER TABLE order_ledger
  ADD COLUMN cancel_requested_at timestamptz, ADD COLUMN cancel_reason text, ADD COLUMN cancel_note text,
  ADD CONSTRAINT ck_order_ledger_cancellation
    CHECK ((cancel_requested_at IS NULL) = (cancel_reason IS NULL)
      AND (cancel_requested_at IS NOT NULL OR cancel_note IS NULL)) NOT VALID
"""
# Reads all rows, while others read and write the table.
VALIDATE = "ALTER TABLE order_ledger VALIDATE CONSTRAINT ck_order_ledger_cancellation"
KEYS = """
CREATE TABLE edge_idempotency_keys (
    client text COLLATE "C" NOT NULL,
    key varchar(255) COLLATE "C" NOT NULL,
    fingerprint varchar(64) NOT NULL,
    status bigint,
    body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_edge_idempotency_keys PRIMARY KEY (client, key),
    CONSTRAINT ck_edge_idempotency_keys_answer CHECK ((status IS NULL) = (body IS NULL))
)
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(VALIDATE)
    op.execute(KEYS)


def downgrade() -> None:
    op.execute("DROP TABLE edge_idempotency_keys")
    op.execute(
        "ALTER TABLE order_ledger DROP COLUMN cancel_requested_at, DROP COLUMN cancel_reason, DROP COLUMN cancel_note"
    )
