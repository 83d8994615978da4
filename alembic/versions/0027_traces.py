"""The trace of the request that began an order or a refund.

Revision ID: holdfast_0027
Revises: holdfast_0026

No row is rewritten, and no lock on a table is held for long: each statement commits by itself. Every step can be
repeated.
"""

from alembic import op

revision = "holdfast_0027"
down_revision = "holdfast_0026"
branch_labels = None
depends_on = None

TABLES = ("order_ledger", "refunds")
# The same as in edge_api/models.py. It waits only briefly for the table's lock, because all later statements wait
# behind it.
COLUMN = """SET LOCAL lock_timeout = '400ms';
ALTER TABLE {table}
  ADD COLUMN IF NOT EXISTS trace_parent text,
  DROP CONSTRAINT IF EXISTS ck_{table}_trace_parent,
  ADD CONSTRAINT ck_{table}_trace_parent
    CHECK (trace_parent ~ '^00-(?!0{{32}})[0-9a-f]{{32}}-(?!0{{16}})[0-9a-f]{{16}}-[0-9a-f]{{2}}$') NOT VALID
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        for table in TABLES:
            op.execute(COLUMN.format(table=table))
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_trace_parent")
        op.execute("RESET statement_timeout; RESET lock_timeout")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} DROP COLUMN trace_parent")
