"""Orders counted by the minute and in all, and the audits that ran.

Revision ID: holdfast_0024
Revises: holdfast_0023

The tables are new, so nothing waits. The cursor stands before the first event: the orchestrators count all that are
kept. Every step can be repeated.
"""

from alembic import op

revision = "holdfast_0024"
down_revision = "holdfast_0023"
branch_labels = None
depends_on = None

# The same as in orchestrator/models.py and ops/models.py, where it is explained.
NO_ORDERS = "'{" + ",".join("0" * 21) + "}'"
TABLES = f"""
CREATE TABLE IF NOT EXISTS order_minutes (
  minute timestamptz NOT NULL,
  accepted integer DEFAULT 0 NOT NULL,
  declined integer DEFAULT 0 NOT NULL,
  completed integer DEFAULT 0 NOT NULL,
  failed integer DEFAULT 0 NOT NULL,
  cancelled integer DEFAULT 0 NOT NULL,
  refunds_succeeded integer DEFAULT 0 NOT NULL,
  refunds_failed integer DEFAULT 0 NOT NULL,
  durations integer[] DEFAULT {NO_ORDERS} NOT NULL,
  CONSTRAINT pk_order_minutes PRIMARY KEY (minute),
  CONSTRAINT ck_order_minutes_durations CHECK (cardinality(durations) = 21)
);

CREATE TABLE IF NOT EXISTS order_totals (
  is_only boolean DEFAULT true NOT NULL,
  accepted bigint DEFAULT 0 NOT NULL,
  declined bigint DEFAULT 0 NOT NULL,
  completed bigint DEFAULT 0 NOT NULL,
  failed bigint DEFAULT 0 NOT NULL,
  cancelled bigint DEFAULT 0 NOT NULL,
  refunds_succeeded bigint DEFAULT 0 NOT NULL,
  refunds_failed bigint DEFAULT 0 NOT NULL,
  durations bigint[] DEFAULT {NO_ORDERS} NOT NULL,
  duration_s double precision DEFAULT 0 NOT NULL,
  event_id text COLLATE "C" DEFAULT '' NOT NULL,
  xid xid8 DEFAULT '0' NOT NULL,
  position bigint DEFAULT 0 NOT NULL,
  renumbered_after bigint,
  CONSTRAINT pk_order_totals PRIMARY KEY (is_only),
  CONSTRAINT ck_order_totals_is_only CHECK (is_only),
  CONSTRAINT ck_order_totals_durations CHECK (cardinality(durations) = 21)
);

CREATE TABLE IF NOT EXISTS audit_runs (
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  at timestamptz DEFAULT clock_timestamp() NOT NULL,
  took_ms bigint NOT NULL,
  healthy boolean NOT NULL,
  violations jsonb NOT NULL,
  rows_found bigint NOT NULL,
  CONSTRAINT pk_audit_runs PRIMARY KEY (id),
  CONSTRAINT ck_audit_runs_took_ms CHECK (took_ms >= 0),
  CONSTRAINT ck_audit_runs_healthy CHECK (healthy = (rows_found = 0))
);
CREATE INDEX IF NOT EXISTS ix_audit_runs_at ON audit_runs (at);
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE audit_runs, order_totals, order_minutes")
