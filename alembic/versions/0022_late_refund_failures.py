"""Refunds that the gateway fails after they had succeeded, and holds that it ends by itself.

Revision ID: holdfast_0022
Revises: holdfast_0021

No row is rewritten, and no lock on a table is held for long: each statement commits by itself. Every step can be
repeated.
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0022"
down_revision = "holdfast_0021"
branch_labels = None
depends_on = None

HERE = Path(__file__)
# As in 0017. The tables, the constraints and the functions are the same as in payments_service/models.py and
# edge_api/refund_models.py, where they are explained.
BRIEFLY = "SET LOCAL lock_timeout = '400ms';"
PAYMENTS = f"""{BRIEFLY}
ALTER TABLE payment_authorizations ADD COLUMN IF NOT EXISTS capture_before timestamptz
"""
PAYMENT_REFUNDS = f"""{BRIEFLY}
ALTER TABLE payment_refunds
  ADD COLUMN IF NOT EXISTS failed_at timestamptz,
  DROP CONSTRAINT IF EXISTS ck_payment_refunds_status,
  DROP CONSTRAINT IF EXISTS ck_payment_refunds_settled_at,
  DROP CONSTRAINT IF EXISTS ck_payment_refunds_failed_at,
  ADD CONSTRAINT ck_payment_refunds_status CHECK (status IN ('PENDING', 'REFUNDED', 'FAILED')) NOT VALID,
  ADD CONSTRAINT ck_payment_refunds_settled_at CHECK (status <> 'PENDING' OR settled_at IS NULL) NOT VALID,
  ADD CONSTRAINT ck_payment_refunds_failed_at CHECK ((status = 'FAILED') = (failed_at IS NOT NULL)) NOT VALID
"""
GATEWAY_REFUNDS = f"""{BRIEFLY}
ALTER TABLE gateway_refunds
  ADD COLUMN IF NOT EXISTS look_at timestamptz DEFAULT (now() + interval '1 day'),
  ADD COLUMN IF NOT EXISTS noted_at timestamptz
"""
REFUNDS = f"""{BRIEFLY}
ALTER TABLE refunds
  DROP CONSTRAINT IF EXISTS ck_refunds_money_comes_first,
  DROP CONSTRAINT IF EXISTS ck_refunds_not_restocked,
  ADD CONSTRAINT ck_refunds_money_comes_first CHECK (restocked = '{{}}'
    OR status <> 'REQUESTED' AND (status <> 'FAILED' OR failure_code = 'refund_failed_later')) NOT VALID,
  ADD CONSTRAINT ck_refunds_not_restocked CHECK (not_restocked = '{{}}'
    OR restock AND status <> 'REQUESTED' AND (status <> 'FAILED' OR failure_code = 'refund_failed_later')
    AND NOT not_restocked && restocked) NOT VALID
"""
VALIDATE = {
    "payment_refunds": ("status", "settled_at", "failed_at"),
    "refunds": ("money_comes_first", "not_restocked"),
}
PAYMENT_MOVES = f"""{BRIEFLY}
CREATE OR REPLACE FUNCTION refuse_payment_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        {{moves}}
    ) THEN
        RAISE check_violation USING MESSAGE = 'a payment cannot go from ' || OLD.status || ' to ' || NEW.status;
    END IF;
    RETURN NEW;
END $$
"""
FORMER_MOVES = "('AUTHORIZED', 'CAPTURED'), ('AUTHORIZED', 'VOIDED'), ('CAPTURED', 'REFUNDED')"
MOVES = f"{FORMER_MOVES}, ('REFUNDED', 'CAPTURED')"
# Name → what it is of.
INDEXES = {
    "ix_payment_authorizations_capture_before":
        "payment_authorizations (capture_before) WHERE status = 'AUTHORIZED' AND capture_before IS NOT NULL",
    "ix_gateway_refunds_look_at": "gateway_refunds (look_at) WHERE look_at IS NOT NULL",
    "ix_payment_refunds_failed": "payment_refunds (id) WHERE status = 'FAILED'",
}  # fmt: skip
EVENTS = ("uq_events_refund_id_type", "events (refund_id, type) WHERE refund_id IS NOT NULL")
FORMER_EVENTS = ("uq_events_refund_id", "events (refund_id) WHERE refund_id IS NOT NULL")
GUARD, FORMER_GUARD, VIEWS, FORMER_REFUNDS, FORMER_VIEWS, FIRST_VIEWS = (
    HERE.with_name(name).read_text(encoding="utf-8")
    for name in (
        "0022_refunds_guard.sql", "0019_refunds_guard.sql", "0022_audit.sql", "0019_audit.sql", "0017_audit.sql",
        "0005_audit.sql",
    )
)  # fmt: skip
# As in 0017: the owner's rights, and a closed search path.
AS_OWNER = r"""
DO $$
DECLARE
  schema text := quote_ident(current_schema());
BEGIN
  EXECUTE (SELECT format('CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', proname, regexp_replace(prosrc,
    '(FROM|INTO|PERFORM|UPDATE|entry) '
      '(order_ledger|order_ledger_items|refunds|refund_items|add_event|pending_erasures)\M',
    '\1 ' || schema || '.\2', 'g')) FROM pg_proc WHERE oid = 'refund_guard'::regproc);
END $$;
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        for statement in (PAYMENTS, PAYMENT_REFUNDS, GATEWAY_REFUNDS, REFUNDS, PAYMENT_MOVES.format(moves=MOVES)):
            op.execute(statement)
        for table, names in VALIDATE.items():
            for name in names:
                op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")
        for name, of in INDEXES.items():
            _index("INDEX", name, of)
        _index("UNIQUE INDEX", *EVENTS)
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {FORMER_EVENTS[0]}")
        op.execute(BRIEFLY + GUARD + AS_OWNER)
        op.execute(VIEWS)
        op.execute("RESET statement_timeout; RESET lock_timeout")


def _index(kind: str, name: str, of: str) -> None:
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted attempt left
    op.execute(f"CREATE {kind} CONCURRENTLY {name} ON {of}")


def _former(kind: str, name: str, script: str, end: str) -> str:
    (text,) = re.findall(rf"^CREATE (?:OR REPLACE )?{kind} ({name}\b.*?{end};)$", script, re.MULTILINE | re.DOTALL)
    return str(text)


def downgrade() -> None:
    """Fails where a refund has failed after it had succeeded: an earlier release cannot account for it."""
    for name, script in {
        "audit_completed": FORMER_VIEWS, "audit_money": FORMER_VIEWS, "audit_refunds": FORMER_REFUNDS,
        "audit_payments": FIRST_VIEWS,
    }.items():  # fmt: skip
        op.execute("CREATE OR REPLACE VIEW " + _former("VIEW", name, script, ""))
    op.execute("CREATE OR REPLACE FUNCTION " + _former("FUNCTION", "refund_guard", FORMER_GUARD, r"\$\$"))
    op.execute(AS_OWNER)
    op.execute("DROP INDEX uq_events_refund_id_type")
    op.execute(f"CREATE UNIQUE INDEX {FORMER_EVENTS[0]} ON {FORMER_EVENTS[1]}")
    op.execute(PAYMENT_MOVES.format(moves=FORMER_MOVES))
    op.execute("""
ALTER TABLE refunds
  DROP CONSTRAINT ck_refunds_money_comes_first,
  DROP CONSTRAINT ck_refunds_not_restocked,
  ADD CONSTRAINT ck_refunds_money_comes_first CHECK (restocked = '{}' OR status NOT IN ('REQUESTED', 'FAILED')),
  ADD CONSTRAINT ck_refunds_not_restocked CHECK (not_restocked = '{}'
    OR restock AND status NOT IN ('REQUESTED', 'FAILED') AND NOT not_restocked && restocked)
""")
    op.execute("ALTER TABLE gateway_refunds DROP COLUMN look_at, DROP COLUMN noted_at")
    op.execute("DROP INDEX ix_payment_refunds_failed")
    op.execute("""
ALTER TABLE payment_refunds
  DROP COLUMN failed_at,
  DROP CONSTRAINT ck_payment_refunds_status,
  DROP CONSTRAINT ck_payment_refunds_settled_at,
  ADD CONSTRAINT ck_payment_refunds_status CHECK (status IN ('PENDING', 'REFUNDED')),
  ADD CONSTRAINT ck_payment_refunds_settled_at CHECK (status = 'REFUNDED' OR settled_at IS NULL)
""")
    op.execute("ALTER TABLE payment_authorizations DROP COLUMN capture_before")
