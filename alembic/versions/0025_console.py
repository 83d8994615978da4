"""The console's tables, and the index by which it finds an order by a request id.

Revision ID: holdfast_0025
Revises: holdfast_0024

The tables are those of console/models.py, where they are explained. Every step can be repeated.
"""

from alembic import op

revision = "holdfast_0025"
down_revision = "holdfast_0024"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE IF NOT EXISTS operator_keys (
  id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  role text COLLATE "C" NOT NULL,
  secret_sha256 bytea NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  CONSTRAINT pk_operator_keys PRIMARY KEY (id),
  CONSTRAINT ck_operator_keys_role CHECK (role IN ('viewer', 'operator', 'admin')),
  CONSTRAINT ck_operator_keys_secret_sha256 CHECK (octet_length(secret_sha256) = 32)
);
CREATE TABLE IF NOT EXISTS operator_sessions (
  token_sha256 bytea NOT NULL,
  name text COLLATE "C" NOT NULL,
  role text COLLATE "C" NOT NULL,
  key_id text COLLATE "C",
  notice text,
  created_at timestamptz DEFAULT now() NOT NULL,
  expires_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_operator_sessions PRIMARY KEY (token_sha256),
  CONSTRAINT ck_operator_sessions_role CHECK (role IN ('viewer', 'operator', 'admin')),
  CONSTRAINT ck_operator_sessions_token_sha256 CHECK (octet_length(token_sha256) = 32)
);
CREATE INDEX IF NOT EXISTS ix_operator_sessions_expires_at ON operator_sessions (expires_at);
CREATE TABLE IF NOT EXISTS order_notes (
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  order_ledger_id uuid NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  author text COLLATE "C" NOT NULL,
  text text NOT NULL,
  CONSTRAINT pk_order_notes PRIMARY KEY (id),
  CONSTRAINT ck_order_notes_text CHECK (length(text) BETWEEN 1 AND 2000)
);
CREATE INDEX IF NOT EXISTS ix_order_notes_order_ledger_id_at ON order_notes (order_ledger_id, at);
CREATE TABLE IF NOT EXISTS dealt_with (
  subject_id uuid NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  author text COLLATE "C" NOT NULL,
  reason text NOT NULL,
  retry_count integer NOT NULL,
  CONSTRAINT pk_dealt_with PRIMARY KEY (subject_id),
  CONSTRAINT ck_dealt_with_reason CHECK (length(reason) BETWEEN 1 AND 500)
);
"""
# By name. The tables are in use: each index is a statement of its own, and locks out no write.
INDEXES = {
    "ix_operator_log_order_ledger_id": 'operator_log (((details ->> \'order_ledger_id\'::text)) COLLATE "C", at)'
    " WHERE (details ->> 'order_ledger_id'::text) IS NOT NULL",
    "ix_operator_log_actor_at": 'operator_log (actor COLLATE "C", at)',
    "ix_operator_log_action_at": 'operator_log (action COLLATE "C", at)',
    "ix_order_ledger_request_id": 'order_ledger (request_id COLLATE "C")',
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0; SET lock_timeout = 0")  # the role's limits are for single orders
        op.execute(TABLES)
        for name, columns in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted attempt left
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")
        op.execute("RESET statement_timeout; RESET lock_timeout")


def downgrade() -> None:
    op.execute(
        "DROP INDEX IF EXISTS ix_order_ledger_request_id, ix_operator_log_order_ledger_id,"
        " ix_operator_log_actor_at, ix_operator_log_action_at"
    )
    op.execute("DROP TABLE IF EXISTS dealt_with, order_notes, operator_sessions, operator_keys")
