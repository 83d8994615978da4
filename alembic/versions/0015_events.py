"""A stand-in for the events of orders: the table alone, without what writes it.

Revision ID: holdfast_0015
Revises: holdfast_0013
"""

from alembic import op

revision = "holdfast_0015"
down_revision = "holdfast_0013"
branch_labels = None
depends_on = None

# The same as in edge_api/models.py.
TABLE = """
CREATE TABLE events (
  id text COLLATE "C" NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  position bigint GENERATED ALWAYS AS IDENTITY,
  client text COLLATE "C" NOT NULL,
  order_ledger_id uuid NOT NULL,
  sequence integer NOT NULL,
  type text NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  status text NOT NULL,
  order_id uuid,
  refunded_cents bigint NOT NULL,
  failure_code text,
  failure_message text,
  refund_id uuid,
  CONSTRAINT pk_events PRIMARY KEY (id),
  CONSTRAINT uq_events_order_ledger_id_sequence UNIQUE (order_ledger_id, sequence)
);
CREATE INDEX ix_events_client_xid_position ON events (client, xid, position);
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE events")
