"""The ledger with its lines, history and outbox; stored answers to refused requests; rate limits."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "holdfast_0004"
down_revision = "holdfast_0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE order_ledger (
  id uuid NOT NULL,
  client text NOT NULL,
  client_request_id varchar(255) NOT NULL,
  fingerprint varchar(64) NOT NULL,
  user_id uuid NOT NULL,
  email text NOT NULL,
  total_amount_cents bigint NOT NULL,
  currency varchar(3) NOT NULL,
  request_id text NOT NULL,
  status text NOT NULL,
  status_detail text,
  payment_authorization_id text,
  order_id uuid,
  compensating_from text,
  undone text[] DEFAULT '{}'::text[] NOT NULL,
  failure_code text,
  failure_message text,
  due_at timestamptz,
  claimed_by text,
  claimed_until timestamptz,
  claim_number integer DEFAULT 0 NOT NULL,
  unproductive_claims integer DEFAULT 0 NOT NULL,
  retry_count integer DEFAULT 0 NOT NULL,
  next_retry_at timestamptz,
  needs_attention_at timestamptz,
  attention_reason text,
  response_status integer,
  response_body text,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_order_ledger PRIMARY KEY (id),
  CONSTRAINT uq_order_ledger_client_client_request_id
    UNIQUE (client, client_request_id),
  CONSTRAINT ck_order_ledger_status
    CHECK (status IN ('AWAITING_AUTHORIZATION', 'AUTHORIZED', 'AUTHORIZATION_FAILED',
      'ORDER_CREATED', 'INVENTORY_RESERVED', 'PAYMENT_CAPTURED', 'COMPLETED', 'COMPENSATING', 'FAILED')),
  CONSTRAINT ck_order_ledger_total_amount_cents
    CHECK (total_amount_cents BETWEEN 1 AND 999999999999),
  CONSTRAINT ck_order_ledger_due_until_terminal
    CHECK ((status IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED')) = (due_at IS NULL)),
  CONSTRAINT ck_order_ledger_claim
    CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)),
  CONSTRAINT ck_order_ledger_attention
    CHECK ((needs_attention_at IS NULL) = (attention_reason IS NULL)),
  CONSTRAINT ck_order_ledger_response
    CHECK ((response_status IS NULL) = (response_body IS NULL)),
  CONSTRAINT ck_order_ledger_authorized_has_authorization
    CHECK (payment_authorization_id IS NOT NULL OR status IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED')),
  CONSTRAINT ck_order_ledger_compensating_from
    CHECK (status <> 'COMPENSATING' OR compensating_from IS NOT NULL),
  CONSTRAINT ck_order_ledger_failure_has_reason
    CHECK (status NOT IN ('AUTHORIZATION_FAILED', 'FAILED') OR failure_code IS NOT NULL),
  CONSTRAINT ck_order_ledger_failed_is_undone
    CHECK (status <> 'FAILED'
    OR undone @> CASE WHEN compensating_from = 'AUTHORIZED' THEN '{void_payment,cancel_order}'::text[]
      ELSE '{void_payment,release_inventory,cancel_order}'::text[] END)
) WITH (fillfactor = 70);

CREATE INDEX ix_order_ledger_due_at ON order_ledger (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX ix_order_ledger_needs_attention_at ON order_ledger (needs_attention_at)
  WHERE needs_attention_at IS NOT NULL;

CREATE TABLE order_ledger_items (
  order_ledger_id uuid NOT NULL,
  position integer NOT NULL,
  product_id uuid NOT NULL,
  quantity integer NOT NULL,
  unit_price_cents bigint NOT NULL,
  CONSTRAINT pk_order_ledger_items PRIMARY KEY (order_ledger_id, position),
  CONSTRAINT uq_order_ledger_items_order_ledger_id_product_id
    UNIQUE (order_ledger_id, product_id),
  CONSTRAINT ck_order_ledger_items_quantity
    CHECK (quantity BETWEEN 1 AND 100),
  CONSTRAINT ck_order_ledger_items_unit_price_cents
    CHECK (unit_price_cents BETWEEN 1 AND 999999999999),
  CONSTRAINT fk_order_ledger_items_order_ledger_id_order_ledger
    FOREIGN KEY (order_ledger_id) REFERENCES order_ledger (id)
);

CREATE TABLE order_ledger_history (
  id bigint GENERATED ALWAYS AS IDENTITY,
  order_ledger_id uuid NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  from_status text,
  to_status text NOT NULL,
  detail text,
  claim_number integer NOT NULL,
  CONSTRAINT pk_order_ledger_history PRIMARY KEY (id),
  CONSTRAINT fk_order_ledger_history_order_ledger_id_order_ledger
    FOREIGN KEY (order_ledger_id) REFERENCES order_ledger (id)
);

CREATE INDEX ix_order_ledger_history_order_ledger_id ON order_ledger_history (order_ledger_id);

CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY,
  order_ledger_id uuid NOT NULL,
  event_type text NOT NULL,
  payload jsonb NOT NULL,
  status text DEFAULT 'PENDING' NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  processed_at timestamptz,
  CONSTRAINT pk_outbox PRIMARY KEY (id),
  CONSTRAINT ck_outbox_status
    CHECK (status IN ('PENDING', 'PROCESSED', 'FAILED')),
  CONSTRAINT ck_outbox_processed_at
    CHECK ((status = 'PENDING') = (processed_at IS NULL)),
  CONSTRAINT uq_outbox_order_ledger_id
    UNIQUE (order_ledger_id),
  CONSTRAINT fk_outbox_order_ledger_id_order_ledger
    FOREIGN KEY (order_ledger_id) REFERENCES order_ledger (id)
);

CREATE TABLE refused_requests (
  client text NOT NULL,
  client_request_id varchar(255) NOT NULL,
  fingerprint varchar(64) NOT NULL,
  response_status integer NOT NULL,
  response_body text NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_refused_requests PRIMARY KEY (client, client_request_id)
);

CREATE TABLE rate_limits (
  client text NOT NULL,
  tokens double precision NOT NULL,
  refilled_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_rate_limits PRIMARY KEY (client),
  CONSTRAINT ck_rate_limits_tokens
    CHECK (tokens >= 0)
);
"""

GUARD = Path(__file__).with_name("0004_guard.sql").read_text(encoding="utf-8")

TRIGGERS = """
CREATE TRIGGER order_ledger_begins AFTER INSERT ON order_ledger
  FOR EACH ROW EXECUTE FUNCTION order_ledger_guard();

CREATE TRIGGER order_ledger_moves AFTER UPDATE ON order_ledger
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.undone IS DISTINCT FROM NEW.undone
    OR OLD.compensating_from IS DISTINCT FROM NEW.compensating_from OR NEW.claim_number < OLD.claim_number)
  EXECUTE FUNCTION order_ledger_guard();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GUARD)
    op.execute(TRIGGERS)


def downgrade() -> None:
    op.execute(
        "DROP TABLE rate_limits, refused_requests, outbox, order_ledger_history, order_ledger_items, order_ledger"
    )
    op.execute("DROP FUNCTION order_ledger_guard()")
