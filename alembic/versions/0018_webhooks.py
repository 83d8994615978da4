"""The webhook endpoints of clients, their secrets, and the deliveries of events to them.

Revision ID: holdfast_0018
Revises: holdfast_0017
"""

from alembic import op

revision = "holdfast_0018"
down_revision = "holdfast_0017"
branch_labels = None
depends_on = None

# The same as in webhooks/models.py, where they are explained.
TABLES = """
CREATE TABLE webhook_endpoints (
  id text COLLATE "C" NOT NULL,
  client text COLLATE "C" NOT NULL,
  url text NOT NULL,
  event_types text[] NOT NULL,
  description text,
  status text DEFAULT 'enabled' NOT NULL,
  disabled_at timestamptz,
  disabled_reason text,
  cursor_xid xid8 NOT NULL,
  cursor_position bigint DEFAULT 0 NOT NULL,
  last_success_at timestamptz,
  failing_since timestamptz,
  warnings integer DEFAULT 0 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  deleted_at timestamptz,
  CONSTRAINT pk_webhook_endpoints PRIMARY KEY (id),
  CONSTRAINT ck_webhook_endpoints_status CHECK (status IN ('enabled', 'disabled')),
  CONSTRAINT ck_webhook_endpoints_disabled CHECK ((status = 'disabled') = (disabled_at IS NOT NULL)
    AND (disabled_at IS NULL) = (disabled_reason IS NULL)),
  CONSTRAINT ck_webhook_endpoints_event_types CHECK (cardinality(event_types) > 0),
  CONSTRAINT ck_webhook_endpoints_warnings CHECK (warnings >= 0 AND (warnings = 0 OR failing_since IS NOT NULL))
);
CREATE INDEX ix_webhook_endpoints_client_created_at_id ON webhook_endpoints (client, created_at, id);

CREATE TABLE webhook_secrets (
  endpoint_id text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  secret text NOT NULL,
  valid_until timestamptz,
  CONSTRAINT pk_webhook_secrets PRIMARY KEY (endpoint_id, number),
  CONSTRAINT fk_webhook_secrets_endpoint_id_webhook_endpoints
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id),
  CONSTRAINT ck_webhook_secrets_number CHECK (number >= 1),
  CONSTRAINT ck_webhook_secrets_secret CHECK (secret ~ '^whsec_[A-Za-z0-9+/]{43}=$')
);

CREATE TABLE webhook_deliveries (
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  endpoint_id text COLLATE "C" NOT NULL,
  event_id text COLLATE "C",
  message_id text COLLATE "C" NOT NULL,
  type text NOT NULL,
  order_ledger_id uuid,
  sequence integer,
  status text COLLATE "C" DEFAULT 'pending' NOT NULL,
  due_at timestamptz,
  attempts integer DEFAULT 0 NOT NULL,
  first_attempt_at timestamptz,
  last_attempt_at timestamptz,
  claimed_by text,
  claimed_until timestamptz,
  claim_number integer DEFAULT 0 NOT NULL,
  response_status integer,
  response_body text,
  error text,
  created_at timestamptz DEFAULT now() NOT NULL,
  ended_at timestamptz,
  CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id),
  CONSTRAINT uq_webhook_deliveries_event_id_endpoint_id UNIQUE (event_id, endpoint_id),
  CONSTRAINT fk_webhook_deliveries_endpoint_id_webhook_endpoints
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id),
  CONSTRAINT fk_webhook_deliveries_event_id_events
    FOREIGN KEY (event_id) REFERENCES events (id) ON DELETE CASCADE,
  CONSTRAINT ck_webhook_deliveries_status CHECK (status IN ('pending', 'succeeded', 'failed')),
  CONSTRAINT ck_webhook_deliveries_pending CHECK ((status = 'pending') = (due_at IS NOT NULL)
    AND (status = 'pending') = (ended_at IS NULL)),
  CONSTRAINT ck_webhook_deliveries_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)
    AND (claimed_by IS NULL OR status = 'pending')),
  CONSTRAINT ck_webhook_deliveries_event CHECK ((event_id IS NULL) = (order_ledger_id IS NULL)
    AND (event_id IS NULL) = (sequence IS NULL) AND (event_id IS NULL OR event_id = message_id)),
  CONSTRAINT ck_webhook_deliveries_attempts CHECK (attempts >= 0),
  CONSTRAINT ck_webhook_deliveries_response_body CHECK (length(response_body) <= 1024)
);
CREATE INDEX ix_webhook_deliveries_endpoint_id_created_at_id ON webhook_deliveries (endpoint_id, created_at, id);
CREATE INDEX ix_webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE status = 'pending';
CREATE INDEX ix_webhook_deliveries_pending_of_order ON webhook_deliveries (endpoint_id, order_ledger_id, sequence)
  WHERE status = 'pending';
CREATE INDEX ix_webhook_deliveries_claimed ON webhook_deliveries (endpoint_id, claimed_until)
  WHERE claimed_until IS NOT NULL;
CREATE INDEX ix_webhook_deliveries_not_succeeded ON webhook_deliveries (endpoint_id, status, created_at, id)
  WHERE status <> 'succeeded';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE webhook_deliveries, webhook_secrets, webhook_endpoints")
