"""The reference, the metadata and the refunds of orders, the indexes of their lists, and the versions of products.

Revision ID: holdfast_0014
Revises: holdfast_0013

No row is rewritten, and no lock on a table is held for long: each statement commits by itself. Every step can be
repeated.
"""

from alembic import op

revision = "holdfast_0014"
down_revision = "holdfast_0013"
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
  DROP CONSTRAINT IF EXISTS ck_order_ledger_refunded_is_completed,
  ADD CONSTRAINT ck_order_ledger_refunded_cents
    CHECK (refunded_cents BETWEEN 0 AND total_amount_cents) NOT VALID,
  ADD CONSTRAINT ck_order_ledger_refunded_is_completed
    CHECK (refunded_cents = 0 OR status = 'COMPLETED') NOT VALID
"""
# Reads all rows, while others read and write the table.
VALIDATE = """
ALTER TABLE order_ledger VALIDATE CONSTRAINT ck_order_ledger_refunded_cents,
  VALIDATE CONSTRAINT ck_order_ledger_refunded_is_completed
"""

# The same as in inventory_service/models.py, where it is explained.
PRODUCT_VERSIONS = """
CREATE TABLE IF NOT EXISTS product_versions (
  product_id uuid NOT NULL,
  number integer NOT NULL,
  name varchar(255) NOT NULL,
  price_cents bigint NOT NULL,
  is_active boolean NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_product_versions PRIMARY KEY (product_id, number),
  CONSTRAINT ck_product_versions_number CHECK (number >= 1),
  CONSTRAINT ck_product_versions_price_cents CHECK (price_cents BETWEEN 1 AND 999999999999)
)
"""
# The former release reads what a product is sold as from its own row.
KEEP_VERSIONS = """
UPDATE products SET name = current.name, price_cents = current.price_cents, is_active = current.is_active
FROM (SELECT DISTINCT ON (product_id) * FROM product_versions ORDER BY product_id, number DESC) AS current
WHERE current.product_id = products.id
"""
# The same as in edge_api/models.py, where they are explained.
INDEXES = {
    "ix_order_ledger_client_created_at_id": "(client, created_at, id)",
    "ix_order_ledger_client_user_id_created_at_id": "(client, user_id, created_at, id)",
    "ix_order_ledger_email": """(client, lower(email COLLATE "C"), created_at, id)""",
    "ix_order_ledger_reference": "(client, reference, created_at, id) WHERE reference IS NOT NULL",
    "ix_order_ledger_failed": "(client, created_at, id) WHERE due_at IS NULL AND undone <> '{}'",
    "ix_order_ledger_declined": "(client, created_at, id) WHERE due_at IS NULL AND payment_authorization_id IS NULL",
    "ix_order_ledger_refunded_as": """(client, (CASE refunded_cents WHEN total_amount_cents THEN 1 ELSE 0 END),
  created_at, id) WHERE refunded_cents > 0""",
}
IS_BUILT = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{}') AND indisvalid"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        op.execute(COLUMNS)
        op.execute(VALIDATE)
        op.execute(PRODUCT_VERSIONS)
        for name, of in INDEXES.items():
            _build(name, of)
        op.execute("ANALYZE order_ledger")  # an index on an expression has no statistics before
        op.execute("RESET statement_timeout; RESET lock_timeout")


def _build(name: str, of: str) -> None:
    if not op.get_context().as_sql and op.get_bind().exec_driver_sql(IS_BUILT.format(name)).first():
        return  # by an earlier attempt
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted attempt left
    op.execute(f"CREATE INDEX CONCURRENTLY {name} ON order_ledger {of}")


def downgrade() -> None:
    op.execute(KEEP_VERSIONS)
    op.execute("DROP TABLE product_versions")
    op.execute(f"DROP INDEX {', '.join(INDEXES)}")
    op.execute("ALTER TABLE order_ledger DROP COLUMN reference, DROP COLUMN metadata, DROP COLUMN refunded_cents")
