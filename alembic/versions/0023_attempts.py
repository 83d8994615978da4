"""The requests of sagas that were refused or not answered, and the signs of life of the processes.

Revision ID: holdfast_0023
Revises: holdfast_0022
"""

from alembic import op

revision = "holdfast_0023"
down_revision = "holdfast_0022"
branch_labels = None
depends_on = None

# The same as in edge_api/models.py and ops/models.py, where they are explained.
TABLES = """
CREATE TABLE attempts (
  order_ledger_id uuid NOT NULL,
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  refund_id uuid,
  step text NOT NULL,
  attempt integer NOT NULL,
  began_at timestamptz NOT NULL,
  took_ms integer NOT NULL,
  kind text NOT NULL,
  http_status integer,
  code text,
  message text NOT NULL,
  request_id text NOT NULL,
  CONSTRAINT pk_attempts PRIMARY KEY (order_ledger_id, began_at, id),
  CONSTRAINT ck_attempts_kind CHECK (kind IN ('refused', 'unanswered')),
  CONSTRAINT ck_attempts_message CHECK (length(message) <= 500)
);

CREATE TABLE process_heartbeats (
  instance text COLLATE "C" NOT NULL,
  process text NOT NULL,
  host text NOT NULL,
  pid integer NOT NULL,
  version text NOT NULL,
  started_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL,
  is_listening boolean,
  pools jsonb NOT NULL,
  open_breakers text[] NOT NULL,
  loops jsonb NOT NULL,
  CONSTRAINT pk_process_heartbeats PRIMARY KEY (instance)
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE process_heartbeats, attempts")
