"""The API keys of clients. A key is stored as its hash only.

Revision ID: holdfast_0009
Revises: holdfast_0008
"""

from alembic import op

revision = "holdfast_0009"
down_revision = "holdfast_0008"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE client_keys (
  id text COLLATE "C" NOT NULL,
  client text COLLATE "C" NOT NULL,
  secret_sha256 bytea NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  CONSTRAINT pk_client_keys PRIMARY KEY (id),
  CONSTRAINT ck_client_keys_secret_sha256 CHECK (octet_length(secret_sha256) = 32)
)
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE client_keys")
