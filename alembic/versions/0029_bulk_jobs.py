"""Jobs of operators: one action on all orders that fit a filter.

Revision ID: holdfast_0029
Revises: holdfast_0028

The tables are those of console/job_models.py, where they are explained. Every step can be repeated.
"""

from alembic import op

revision = "holdfast_0029"
down_revision = "holdfast_0028"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE IF NOT EXISTS bulk_jobs (
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  author text COLLATE "C" NOT NULL,
  key varchar(255) COLLATE "C" NOT NULL,
  fingerprint varchar(64) NOT NULL,
  operator_key_id text COLLATE "C",
  action text COLLATE "C" NOT NULL,
  filter jsonb NOT NULL,
  reason text NOT NULL,
  note text,
  rate_per_s smallint NOT NULL,
  state text COLLATE "C" DEFAULT 'filling' NOT NULL,
  stop_reason text COLLATE "C",
  stopped_by text COLLATE "C",
  after_created_at timestamptz,
  after_id uuid,
  total integer DEFAULT 0 NOT NULL,
  next_number integer DEFAULT 1 NOT NULL,
  done integer DEFAULT 0 NOT NULL,
  refused integer DEFAULT 0 NOT NULL,
  claimed_by text,
  claimed_until timestamptz,
  claim_number integer DEFAULT 0 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  ended_at timestamptz,
  CONSTRAINT pk_bulk_jobs PRIMARY KEY (id),
  CONSTRAINT ck_bulk_jobs_action CHECK (action IN ('retry', 'cancel')),
  CONSTRAINT ck_bulk_jobs_state CHECK (state IN ('filling', 'running', 'done', 'stopped')),
  CONSTRAINT ck_bulk_jobs_stop_reason CHECK (stop_reason IN ('operator', 'key', 'failed')),
  CONSTRAINT ck_bulk_jobs_stopped CHECK ((state = 'stopped') = (stop_reason IS NOT NULL)),
  CONSTRAINT ck_bulk_jobs_ended CHECK ((state IN ('done', 'stopped')) = (ended_at IS NOT NULL)),
  CONSTRAINT ck_bulk_jobs_rate CHECK (rate_per_s BETWEEN 1 AND 50),
  CONSTRAINT ck_bulk_jobs_reason CHECK (length(reason) BETWEEN 1 AND 500),
  CONSTRAINT ck_bulk_jobs_note CHECK (length(note) BETWEEN 1 AND 500),
  CONSTRAINT ck_bulk_jobs_sums CHECK (done + refused = next_number - 1 AND next_number <= total + 1)
);
CREATE UNIQUE INDEX IF NOT EXISTS uq_bulk_jobs_author ON bulk_jobs (author, key);
CREATE INDEX IF NOT EXISTS ix_bulk_jobs_created_at_id ON bulk_jobs (created_at, id);
CREATE INDEX IF NOT EXISTS ix_bulk_jobs_open ON bulk_jobs (created_at) WHERE state IN ('filling', 'running');
CREATE TABLE IF NOT EXISTS bulk_job_items (
  job_id uuid NOT NULL,
  number integer NOT NULL,
  order_ledger_id uuid NOT NULL,
  result text COLLATE "C",
  code text COLLATE "C",
  message text,
  ended_at timestamptz,
  CONSTRAINT pk_bulk_job_items PRIMARY KEY (job_id, number),
  CONSTRAINT fk_bulk_job_items_job_id_bulk_jobs FOREIGN KEY (job_id) REFERENCES bulk_jobs (id),
  CONSTRAINT ck_bulk_job_items_result CHECK (result IN ('done', 'refused')),
  CONSTRAINT ck_bulk_job_items_ended CHECK ((result IS NULL) = (ended_at IS NULL)),
  CONSTRAINT ck_bulk_job_items_refusal CHECK (CASE WHEN result = 'refused'
    THEN code IS NOT NULL AND message IS NOT NULL ELSE code IS NULL AND message IS NULL END)
);
CREATE UNIQUE INDEX IF NOT EXISTS uq_bulk_job_items_order_ledger_id ON bulk_job_items (order_ledger_id, job_id);
CREATE INDEX IF NOT EXISTS ix_bulk_job_items_refused ON bulk_job_items (job_id, number) WHERE result = 'refused';
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS bulk_job_items, bulk_jobs")
