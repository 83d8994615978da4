"""What was asked of a gateway that is not part of our books: holds and refunds, each noted before it is asked for.

Revision ID: holdfast_0020
Revises: holdfast_0019

Every step can be repeated.
"""

from alembic import op

revision = "holdfast_0020"
down_revision = "holdfast_0019"
branch_labels = None
depends_on = None

# It waits only briefly for the table's lock, because all later statements wait behind it.
GATEWAY = """SET LOCAL lock_timeout = '400ms';
ALTER TABLE payment_authorizations ADD COLUMN IF NOT EXISTS gateway text
"""
# The same as in payments_service/models.py, where they are explained.
TABLES = """
CREATE TABLE IF NOT EXISTS gateway_holds (
  authorization_key varchar(255) COLLATE "C" NOT NULL,
  authorization_id text COLLATE "C" NOT NULL,
  gateway text NOT NULL,
  gateway_id text COLLATE "C",
  amount_cents bigint,
  currency varchar(3),
  fingerprint varchar(64),
  closed_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_gateway_holds PRIMARY KEY (authorization_key),
  CONSTRAINT uq_gateway_holds_authorization_id UNIQUE (authorization_id),
  CONSTRAINT uq_gateway_holds_gateway_id UNIQUE (gateway_id),
  CONSTRAINT ck_gateway_holds_asked CHECK (num_nulls(amount_cents, currency, fingerprint) = 0
    OR num_nulls(amount_cents, currency, fingerprint, gateway_id) = 4 AND closed_at IS NOT NULL)
);
CREATE TABLE IF NOT EXISTS gateway_refunds (
  id text COLLATE "C" NOT NULL,
  authorization_id text COLLATE "C" NOT NULL,
  idempotency_key varchar(255) COLLATE "C" NOT NULL,
  fingerprint varchar(64) NOT NULL,
  amount_cents bigint NOT NULL,
  gateway_id text COLLATE "C",
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_gateway_refunds PRIMARY KEY (id),
  CONSTRAINT uq_gateway_refunds_idempotency_key UNIQUE (idempotency_key),
  CONSTRAINT uq_gateway_refunds_gateway_id UNIQUE (gateway_id),
  CONSTRAINT ck_gateway_refunds_amount CHECK (amount_cents > 0)
);
CREATE INDEX IF NOT EXISTS ix_gateway_refunds_authorization_id ON gateway_refunds (authorization_id)
"""


def upgrade() -> None:
    for statement in (GATEWAY, TABLES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE gateway_refunds, gateway_holds")
    op.execute("ALTER TABLE payment_authorizations DROP COLUMN gateway")
