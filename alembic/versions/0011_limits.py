"""Tables that limit the requests and the declined payments of a key or an address.

Revision ID: holdfast_0011
Revises: holdfast_0010
"""

from alembic import op

revision = "holdfast_0011"
down_revision = "holdfast_0010"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE request_rates (
  subject text COLLATE "C" NOT NULL,
  tokens double precision NOT NULL,
  refilled_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_request_rates PRIMARY KEY (subject),
  CONSTRAINT ck_request_rates_tokens CHECK (tokens >= 0)
);
CREATE INDEX ix_request_rates_refilled_at ON request_rates (refilled_at);

CREATE TABLE declines (
  subject text COLLATE "C" NOT NULL,
  at timestamptz NOT NULL,
  CONSTRAINT pk_declines PRIMARY KEY (subject, at)
);
CREATE INDEX ix_declines_at ON declines (at);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE declines, request_rates")
