"""What operators were told of, and the messages to them that are not delivered yet.

Revision ID: holdfast_0026
Revises: holdfast_0025
"""

from alembic import op

revision = "holdfast_0026"
down_revision = "holdfast_0025"
branch_labels = None
depends_on = None

# The same as in webhooks/alert_models.py, where it is explained.
TABLE = """
CREATE TABLE operator_alerts (
  kind text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  count integer NOT NULL,
  told_count integer NOT NULL,
  began_at timestamptz DEFAULT now() NOT NULL,
  seen_at timestamptz DEFAULT now() NOT NULL,
  ended_at timestamptz,
  event text,
  message_id text COLLATE "C",
  told_at timestamptz DEFAULT now() NOT NULL,
  due_at timestamptz,
  attempts integer DEFAULT 0 NOT NULL,
  claim_number integer DEFAULT 0 NOT NULL,
  CONSTRAINT pk_operator_alerts PRIMARY KEY (kind, subject),
  CONSTRAINT uq_operator_alerts_message_id UNIQUE (message_id),
  CONSTRAINT ck_operator_alerts_count CHECK (count > 0 AND told_count > 0),
  CONSTRAINT ck_operator_alerts_event CHECK (event IN ('began', 'grew', 'ended')),
  CONSTRAINT ck_operator_alerts_ended CHECK (event IS NULL OR (event = 'ended') = (ended_at IS NOT NULL)),
  CONSTRAINT ck_operator_alerts_message CHECK ((message_id IS NULL) = (event IS NULL)
    AND (message_id IS NULL) = (due_at IS NULL)),
  CONSTRAINT ck_operator_alerts_attempts CHECK (attempts >= 0)
);
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE operator_alerts")
