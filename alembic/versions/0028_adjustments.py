"""The index by which the console shows the adjustments of one product, newest first.

Revision ID: holdfast_0028
Revises: holdfast_0027

It takes the place of the index on `product_id` alone. Every step can be repeated.
"""

from alembic import op

revision = "holdfast_0028"
down_revision = "holdfast_0027"
branch_labels = None
depends_on = None

NEW, FORMER = "ix_inventory_adjustments_product_id_created_at_id", "ix_inventory_adjustments_product_id"


def upgrade() -> None:
    _replace(FORMER, NEW, "product_id, created_at, id")


def downgrade() -> None:
    _replace(NEW, FORMER, "product_id")


def _replace(former: str, new: str, columns: str) -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {new}")  # what an interrupted attempt left
        op.execute(f"CREATE INDEX CONCURRENTLY {new} ON inventory_adjustments ({columns})")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {former}")
        op.execute("RESET statement_timeout; RESET lock_timeout")
