"""Events of orders, written by the triggers of the changes that they tell of, and their audit.

Revision ID: holdfast_0015
Revises: holdfast_0013

No row is rewritten, and no lock on the ledger is held for long. Every step can be repeated.
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0015"
down_revision = "holdfast_0013"
branch_labels = None
depends_on = None

# The same as in edge_api/event_models.py, where it is explained.
TABLES = """
CREATE TABLE IF NOT EXISTS events (
  id text COLLATE "C" NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  position bigint DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint NOT NULL,
  client text COLLATE "C" NOT NULL,
  order_ledger_id uuid NOT NULL,
  sequence integer NOT NULL,
  type text COLLATE "C" NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  status text NOT NULL,
  order_id uuid,
  refunded_cents bigint DEFAULT 0 NOT NULL,
  failure_code text,
  failure_message text,
  refund_id uuid,
  CONSTRAINT pk_events PRIMARY KEY (id),
  CONSTRAINT uq_events_order_ledger_id_sequence UNIQUE (order_ledger_id, sequence),
  CONSTRAINT ck_events_sequence CHECK (sequence >= 1),
  CONSTRAINT ck_events_type CHECK (type IN ('order.authorized', 'order.authorization_failed', 'order.completed',
    'order.failed', 'order.cancelled', 'refund.succeeded', 'refund.failed')),
  CONSTRAINT ck_events_refund_id
    CHECK ((type IN ('refund.succeeded', 'refund.failed')) = (refund_id IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS ix_events_client_type_xid_position ON events (client, type, xid, position);
CREATE UNIQUE INDEX IF NOT EXISTS uq_events_refund_id ON events (refund_id) WHERE refund_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS deleted_events (
  client text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  xid xid8 NOT NULL,
  position bigint NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_deleted_events PRIMARY KEY (client, type),
  CONSTRAINT ck_deleted_events_type CHECK (type IN ('order.authorized', 'order.authorization_failed',
    'order.completed', 'order.failed', 'order.cancelled', 'refund.succeeded', 'refund.failed'))
);
"""
ADD_EVENT = """
CREATE OR REPLACE FUNCTION add_event(ledger order_ledger, type text, refund_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  last record;
  moment timestamptz := clock_timestamp();
  xid xid8;
  place bigint;
BEGIN
  SELECT e.sequence, e.xid, e.position INTO last FROM events AS e
    WHERE e.order_ledger_id = ledger.id ORDER BY e.sequence DESC LIMIT 1;
  xid := GREATEST(pg_current_xact_id(), last.xid);
  place := GREATEST((extract(epoch FROM moment) * 1000000)::bigint, last.position + 1);
  INSERT INTO events (id, xid, position, client, order_ledger_id, sequence, type, at, status, order_id,
      refunded_cents, failure_code, failure_message, refund_id)
    VALUES ('evt_' || lpad(to_hex(xid::text::bigint), 11, '0') || lpad(to_hex(place), 13, '0'), xid, place,
      ledger.client, ledger.id, COALESCE(last.sequence, 0) + 1, type, moment, ledger.status, ledger.order_id,
      ledger.refunded_cents, ledger.failure_code, ledger.failure_message, refund_id);
END $$;
"""
# As in 0010: the owner's rights, and tables of this schema only.
AS_OWNER = """
DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION add_event SECURITY DEFINER SET search_path = pg_catalog, %1$I, pg_temp;'
    'ALTER FUNCTION order_ledger_guard() SECURITY DEFINER SET search_path = pg_catalog, %1$I, pg_temp',
    current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION add_event FROM PUBLIC;
"""
HERE = Path(__file__)
GUARD, FORMER_GUARD, VIEWS, FORMER_VIEWS = (
    HERE.with_name(name).read_text(encoding="utf-8")
    for name in ("0015_guard.sql", "0006_guard.sql", "0015_audit.sql", "0005_audit.sql")
)
# Statements in one string are one transaction. One that waits for a table lock makes all later ones wait behind it, so
# it waits only briefly.
BRIEFLY = "SET LOCAL lock_timeout = '400ms'"
# The entries that exist keep `false`. An entry that gets `true` is inserted after the second statement has committed,
# so each of its moves runs the new guard.
COLUMN = "ALTER TABLE order_ledger ADD COLUMN IF NOT EXISTS has_events boolean DEFAULT false NOT NULL"
FROM_NOW_ON = "ALTER TABLE order_ledger ALTER has_events SET DEFAULT true"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(TABLES)
        op.execute(f"{BRIEFLY}; {COLUMN}")
        op.execute(f"{ADD_EVENT} {GUARD} {AS_OWNER}")
        op.execute(f"{BRIEFLY}; {FROM_NOW_ON}")
        op.execute(VIEWS)


def downgrade() -> None:
    op.execute(f"{FORMER_GUARD} {AS_OWNER.replace('ALTER FUNCTION add_event', 'ALTER FUNCTION order_ledger_guard')}")
    for name in ("audit_checks", "audit_violations"):
        (view,) = re.findall(rf"^CREATE VIEW {name} .*?;$", FORMER_VIEWS, re.MULTILINE | re.DOTALL)
        op.execute(view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    op.execute("DROP VIEW audit_events, audit_legal_events")
    op.execute("DROP FUNCTION add_event")
    op.execute("DROP TABLE deleted_events, events")
    op.execute("ALTER TABLE order_ledger DROP COLUMN has_events")
