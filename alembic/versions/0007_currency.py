"""The currency of a product's price; one answer for each key of a client."""

from __future__ import annotations

from alembic import op

from common.process.settings import Settings

revision = "holdfast_0007"
down_revision = "holdfast_0006"
branch_labels = None
depends_on = None

# A constant default is stored in the catalog (PostgreSQL 11 and later): no row is rewritten, and the lock is short.
# Existing products get the currency of the setting CURRENCY, as do those that processes of the previous release create
# during the upgrade.
PRODUCTS = """
ALTER TABLE products
    ADD COLUMN currency varchar(3) NOT NULL DEFAULT '{currency}',
    ADD COLUMN is_active boolean NOT NULL DEFAULT true
"""

# The same as in edge_api/ledger_functions.py, where they are explained.
KEY_FUNCTIONS = """
CREATE FUNCTION order_key_is_refused(of_client text, key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(key, hashtextextended(of_client, 0)));
  RETURN EXISTS (SELECT FROM refused_requests r WHERE r.client = of_client AND r.client_request_id = key);
END $$;

CREATE FUNCTION order_key_has_entry(of_client text, key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(key, hashtextextended(of_client, 0)));
  RETURN EXISTS (SELECT FROM order_ledger l WHERE l.client = of_client AND l.client_request_id = key);
END $$;
"""


def upgrade() -> None:
    op.execute(PRODUCTS.format(currency=Settings.read("currency")))
    op.execute(KEY_FUNCTIONS)


def downgrade() -> None:
    op.execute("DROP FUNCTION order_key_is_refused(text, text), order_key_has_entry(text, text)")
    op.execute("ALTER TABLE products DROP COLUMN currency, DROP COLUMN is_active")
