"""Refunds: their tables, their share of an order, the gateway's pending refunds, and the audit of all of it.

Revision ID: holdfast_0017
Revises: holdfast_0016

No row is rewritten, and no lock on a table is held for long: each statement commits by itself. Every step can be
repeated.
"""

import re
from pathlib import Path

from alembic import op

from common.schema.views import GRANT_AGAIN, REMEMBER_GRANTS

revision = "holdfast_0017"
down_revision = "holdfast_0016"
branch_labels = None
depends_on = None

# Statements in one string are one transaction. One that waits for a table lock makes all later ones wait behind it, so
# it waits only briefly.
BRIEFLY = "SET LOCAL lock_timeout = '400ms';"
LEDGER = f"""{BRIEFLY}
ALTER TABLE order_ledger
  ADD COLUMN IF NOT EXISTS refund_reserved_cents bigint NOT NULL DEFAULT 0,
  DROP CONSTRAINT IF EXISTS ck_order_ledger_refunded_is_completed,
  DROP CONSTRAINT IF EXISTS ck_order_ledger_refund_reserved_cents,
  DROP CONSTRAINT IF EXISTS ck_order_ledger_refund_reserved_is_completed,
  ADD CONSTRAINT ck_order_ledger_refund_reserved_cents
    CHECK (refund_reserved_cents BETWEEN refunded_cents AND total_amount_cents) NOT VALID,
  ADD CONSTRAINT ck_order_ledger_refund_reserved_is_completed
    CHECK (refund_reserved_cents = 0 OR status = 'COMPLETED') NOT VALID
"""
LINES = f"""{BRIEFLY}
ALTER TABLE order_ledger_items
  ADD COLUMN IF NOT EXISTS refunded_quantity integer NOT NULL DEFAULT 0,
  DROP CONSTRAINT IF EXISTS ck_order_ledger_items_refunded_quantity,
  ADD CONSTRAINT ck_order_ledger_items_refunded_quantity
    CHECK (refunded_quantity BETWEEN 0 AND quantity) NOT VALID
"""
PAYMENTS = f"""{BRIEFLY}
ALTER TABLE payment_authorizations
  ADD COLUMN IF NOT EXISTS refuses_refund boolean NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS delays_refund boolean NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS pending_refund_cents bigint NOT NULL DEFAULT 0,
  DROP CONSTRAINT IF EXISTS ck_payment_authorizations_pending_refund,
  DROP CONSTRAINT IF EXISTS ck_payment_authorizations_refuses_refund,
  ADD CONSTRAINT ck_payment_authorizations_pending_refund
    CHECK (pending_refund_cents BETWEEN 0 AND COALESCE(captured_amount_cents, 0) - refunded_amount_cents) NOT VALID,
  ADD CONSTRAINT ck_payment_authorizations_refuses_refund
    CHECK (NOT refuses_refund OR refunded_amount_cents + pending_refund_cents = 0) NOT VALID
"""
PAYMENT_REFUNDS = f"""{BRIEFLY}
ALTER TABLE payment_refunds
  ADD COLUMN IF NOT EXISTS idempotency_key varchar(255) COLLATE "C",
  ADD COLUMN IF NOT EXISTS status text NOT NULL DEFAULT 'REFUNDED',
  ADD COLUMN IF NOT EXISTS settled_at timestamptz,
  DROP CONSTRAINT IF EXISTS ck_payment_refunds_status,
  DROP CONSTRAINT IF EXISTS ck_payment_refunds_settled_at,
  ADD CONSTRAINT ck_payment_refunds_status CHECK (status IN ('PENDING', 'REFUNDED')) NOT VALID,
  ADD CONSTRAINT ck_payment_refunds_settled_at CHECK (status = 'REFUNDED' OR settled_at IS NULL) NOT VALID
"""
# Refunds are few, so that the index is built at once. The constraint cannot be made twice.
UNIQUE_KEYS = f"""{BRIEFLY}
ALTER TABLE payment_refunds DROP CONSTRAINT IF EXISTS uq_payment_refunds_idempotency_key;
ALTER TABLE payment_refunds ADD CONSTRAINT uq_payment_refunds_idempotency_key UNIQUE (idempotency_key);
CREATE INDEX IF NOT EXISTS ix_payment_refunds_pending ON payment_refunds (id) WHERE status = 'PENDING'
"""
# Reads all rows, while others read and write the table.
VALIDATE = {
    "order_ledger": ("refund_reserved_cents", "refund_reserved_is_completed"),
    "order_ledger_items": ("refunded_quantity",),
    "payment_authorizations": ("pending_refund", "refuses_refund"),
    "payment_refunds": ("status", "settled_at"),
}
# The same as in edge_api/refund_models.py, where they are explained.
TABLES = """
CREATE TABLE IF NOT EXISTS refunds (
  id uuid NOT NULL,
  order_ledger_id uuid NOT NULL,
  idempotency_key varchar(255) COLLATE "C" NOT NULL,
  amount_cents bigint NOT NULL,
  restock boolean NOT NULL,
  reason text NOT NULL,
  note text,
  request_id text NOT NULL,
  status text DEFAULT 'REQUESTED' NOT NULL,
  status_detail text,
  restocked uuid[] DEFAULT '{}'::uuid[] NOT NULL,
  failure_code text,
  failure_message text,
  due_at timestamptz DEFAULT now(),
  claimed_by text,
  claimed_until timestamptz,
  claim_number integer DEFAULT 0 NOT NULL,
  unproductive_claims integer DEFAULT 0 NOT NULL,
  retry_count integer DEFAULT 0 NOT NULL,
  next_retry_at timestamptz,
  needs_attention_at timestamptz,
  attention_reason text,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_refunds PRIMARY KEY (id),
  CONSTRAINT fk_refunds_order_ledger_id_order_ledger FOREIGN KEY (order_ledger_id) REFERENCES order_ledger (id),
  CONSTRAINT ck_refunds_status
    CHECK (status IN ('REQUESTED', 'PAYMENT_REFUNDED', 'RESTOCKED', 'SUCCEEDED', 'FAILED')),
  CONSTRAINT ck_refunds_amount_cents CHECK (amount_cents BETWEEN 1 AND 999999999999),
  CONSTRAINT ck_refunds_reason
    CHECK (reason IN ('requested_by_customer', 'duplicate', 'fraudulent', 'out_of_stock', 'other')),
  CONSTRAINT ck_refunds_due_until_terminal CHECK ((status IN ('SUCCEEDED', 'FAILED')) = (due_at IS NULL)),
  CONSTRAINT ck_refunds_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)),
  CONSTRAINT ck_refunds_attention CHECK ((needs_attention_at IS NULL) = (attention_reason IS NULL)),
  CONSTRAINT ck_refunds_failure
    CHECK ((status = 'FAILED') = (failure_code IS NOT NULL) AND (failure_code IS NULL) = (failure_message IS NULL)),
  CONSTRAINT ck_refunds_restock CHECK (restock OR restocked = '{}' AND status <> 'RESTOCKED'),
  CONSTRAINT ck_refunds_money_comes_first CHECK (restocked = '{}' OR status NOT IN ('REQUESTED', 'FAILED'))
);
CREATE INDEX IF NOT EXISTS ix_refunds_order_ledger_id_created_at ON refunds (order_ledger_id, created_at);
CREATE INDEX IF NOT EXISTS ix_refunds_due_at ON refunds (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_refunds_needs_attention_at ON refunds (needs_attention_at)
  WHERE needs_attention_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS refund_items (
  refund_id uuid NOT NULL,
  product_id uuid NOT NULL,
  quantity integer NOT NULL,
  CONSTRAINT pk_refund_items PRIMARY KEY (refund_id, product_id),
  CONSTRAINT fk_refund_items_refund_id_refunds FOREIGN KEY (refund_id) REFERENCES refunds (id),
  CONSTRAINT ck_refund_items_quantity CHECK (quantity BETWEEN 1 AND 100)
);

CREATE TABLE IF NOT EXISTS set_aside_refunds (
  refund_id uuid NOT NULL,
  reason text NOT NULL,
  since timestamptz DEFAULT now() NOT NULL,
  retry_at timestamptz,
  CONSTRAINT pk_set_aside_refunds PRIMARY KEY (refund_id)
);
"""
GUARD = Path(__file__).with_name("0017_refunds_guard.sql").read_text(encoding="utf-8")
# As in 0016: the owner's rights, and a closed search path.
AS_OWNER = r"""
DO $$
DECLARE
  schema text := quote_ident(current_schema());
  made record;
BEGIN
  FOR made IN SELECT proname, prosrc FROM pg_proc WHERE oid IN ('refund_guard'::regproc, 'refund_item_guard'::regproc)
  LOOP
    EXECUTE format('CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql
      SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', made.proname, regexp_replace(made.prosrc,
      '(FROM|PERFORM|UPDATE|entry) (order_ledger|order_ledger_items|refunds|refund_items|add_event)\M',
      '\1 ' || schema || '.\2', 'g'));
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION refund_guard(), refund_item_guard() FROM PUBLIC;
"""
DROP_GUARD = "DROP FUNCTION IF EXISTS refund_guard(), refund_item_guard() CASCADE;"
VIEWS = Path(__file__).with_name("0017_audit.sql").read_text(encoding="utf-8")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        for change in (LEDGER, LINES, PAYMENTS, PAYMENT_REFUNDS, UNIQUE_KEYS):
            op.execute(change)
        for table, names in VALIDATE.items():
            parts = (f"VALIDATE CONSTRAINT ck_{table}_{name}" for name in names)
            op.execute(f"ALTER TABLE {table} {', '.join(parts)}")
        op.execute(TABLES + DROP_GUARD + GUARD + AS_OWNER)
        op.execute(VIEWS)
        op.execute("RESET statement_timeout; RESET lock_timeout")


def _former(name: str, script: str) -> str:
    text = Path(__file__).with_name(script).read_text(encoding="utf-8")
    (view,) = re.findall(rf"^CREATE (?:OR REPLACE )?VIEW ({name}\b.*?;)$", text, re.MULTILINE | re.DOTALL)
    return f"CREATE OR REPLACE VIEW {view}"


def downgrade() -> None:
    for name in ("audit_violations", "audit_checks"):
        op.execute(_former(name, "0016_audit.sql"))
    for name in ("audit_completed", "audit_money", "audit_amounts"):
        op.execute(_former(name, "0005_audit.sql"))
    op.execute(_former("audit_stuck", "0008_set_aside_entries.py"))
    op.execute(REMEMBER_GRANTS)
    op.execute("DROP VIEW audit_summary, audit_attention, audit_refunds")
    op.execute(_former("audit_attention", "0008_set_aside_entries.py"))
    op.execute(_former("audit_summary", "0008_set_aside_entries.py"))
    op.execute(GRANT_AGAIN)
    op.execute("DROP TABLE set_aside_refunds, refund_items, refunds")
    op.execute("DROP FUNCTION refund_guard(), refund_item_guard()")
    op.execute("DROP INDEX ix_payment_refunds_pending")
    op.execute(
        "ALTER TABLE payment_refunds DROP COLUMN idempotency_key, DROP COLUMN status, DROP COLUMN settled_at;"
        "ALTER TABLE payment_authorizations DROP COLUMN refuses_refund, DROP COLUMN delays_refund,"
        " DROP COLUMN pending_refund_cents;"
        "ALTER TABLE order_ledger_items DROP COLUMN refunded_quantity;"
        "ALTER TABLE order_ledger DROP COLUMN refund_reserved_cents,"
        " ADD CONSTRAINT ck_order_ledger_refunded_is_completed CHECK (refunded_cents = 0 OR status = 'COMPLETED')"
    )
