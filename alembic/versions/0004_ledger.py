"""The ledger: entries, lines, history, outbox; the answers to refused requests; the rate limits.

Revision ID: holdfast_0004
Revises: holdfast_0003
"""

from alembic import op

revision = "holdfast_0004"
down_revision = "holdfast_0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE order_ledger (
  id UUID NOT NULL,
  client TEXT NOT NULL,
  client_request_id VARCHAR(255) NOT NULL,
  fingerprint VARCHAR(64) NOT NULL,
  user_id UUID NOT NULL,
  email TEXT NOT NULL,
  total_amount_cents BIGINT NOT NULL,
  currency VARCHAR(3) NOT NULL,
  request_id TEXT NOT NULL,
  status TEXT NOT NULL,
  status_detail TEXT,
  payment_authorization_id TEXT,
  order_id UUID,
  compensating_from TEXT,
  undone TEXT[] DEFAULT '{}'::text[] NOT NULL,
  failure_code TEXT,
  failure_message TEXT,
  due_at TIMESTAMP WITH TIME ZONE,
  claimed_by TEXT,
  claimed_until TIMESTAMP WITH TIME ZONE,
  claim_number INTEGER DEFAULT 0 NOT NULL,
  unproductive_claims INTEGER DEFAULT 0 NOT NULL,
  retry_count INTEGER DEFAULT 0 NOT NULL,
  next_retry_at TIMESTAMP WITH TIME ZONE,
  needs_attention_at TIMESTAMP WITH TIME ZONE,
  attention_reason TEXT,
  response_status INTEGER,
  response_body TEXT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
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
  order_ledger_id UUID NOT NULL,
  position INTEGER NOT NULL,
  product_id UUID NOT NULL,
  quantity INTEGER NOT NULL,
  unit_price_cents BIGINT NOT NULL,
  CONSTRAINT pk_order_ledger_items PRIMARY KEY (order_ledger_id, position),
  CONSTRAINT uq_order_ledger_items_order_ledger_id_product_id
    UNIQUE (order_ledger_id, product_id),
  CONSTRAINT ck_order_ledger_items_quantity
    CHECK (quantity BETWEEN 1 AND 100),
  CONSTRAINT ck_order_ledger_items_unit_price_cents
    CHECK (unit_price_cents BETWEEN 1 AND 999999999999),
  CONSTRAINT fk_order_ledger_items_order_ledger_id_order_ledger
    FOREIGN KEY(order_ledger_id) REFERENCES order_ledger (id)
);

CREATE TABLE order_ledger_history (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  order_ledger_id UUID NOT NULL,
  at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  from_status TEXT,
  to_status TEXT NOT NULL,
  detail TEXT,
  claim_number INTEGER NOT NULL,
  CONSTRAINT pk_order_ledger_history PRIMARY KEY (id),
  CONSTRAINT fk_order_ledger_history_order_ledger_id_order_ledger
    FOREIGN KEY(order_ledger_id) REFERENCES order_ledger (id)
);

CREATE INDEX ix_order_ledger_history_order_ledger_id ON order_ledger_history (order_ledger_id);

CREATE TABLE outbox (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  order_ledger_id UUID NOT NULL,
  event_type TEXT NOT NULL,
  payload JSONB NOT NULL,
  status TEXT DEFAULT 'PENDING' NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  processed_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_outbox PRIMARY KEY (id),
  CONSTRAINT ck_outbox_status
    CHECK (status IN ('PENDING', 'PROCESSED', 'FAILED')),
  CONSTRAINT ck_outbox_processed_at
    CHECK ((status = 'PENDING') = (processed_at IS NULL)),
  CONSTRAINT uq_outbox_order_ledger_id
    UNIQUE (order_ledger_id),
  CONSTRAINT fk_outbox_order_ledger_id_order_ledger
    FOREIGN KEY(order_ledger_id) REFERENCES order_ledger (id)
);

CREATE TABLE refused_requests (
  client TEXT NOT NULL,
  client_request_id VARCHAR(255) NOT NULL,
  fingerprint VARCHAR(64) NOT NULL,
  response_status INTEGER NOT NULL,
  response_body TEXT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_refused_requests PRIMARY KEY (client, client_request_id)
);

CREATE TABLE rate_limits (
  client TEXT NOT NULL,
  tokens DOUBLE PRECISION NOT NULL,
  refilled_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_rate_limits PRIMARY KEY (client),
  CONSTRAINT ck_rate_limits_tokens
    CHECK (tokens >= 0)
);
"""

GUARD = """
CREATE FUNCTION order_ledger_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  is_legal boolean;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'AWAITING_AUTHORIZATION' THEN
      RAISE EXCEPTION 'an order_ledger entry begins as AWAITING_AUTHORIZATION, not as %', NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'order_ledger_legal_move';
    END IF;
    INSERT INTO order_ledger_history (order_ledger_id, at, from_status, to_status, detail, claim_number)
      VALUES (NEW.id, clock_timestamp(), NULL, NEW.status, NEW.status_detail, NEW.claim_number);
    RETURN NULL;
  END IF;
  is_legal := CASE OLD.status
    WHEN 'AWAITING_AUTHORIZATION' THEN NEW.status IN ('AUTHORIZED', 'AUTHORIZATION_FAILED')
    WHEN 'AUTHORIZED' THEN NEW.status IN ('ORDER_CREATED', 'COMPENSATING')
    WHEN 'ORDER_CREATED' THEN NEW.status IN ('INVENTORY_RESERVED', 'COMPENSATING')
    WHEN 'INVENTORY_RESERVED' THEN NEW.status IN ('PAYMENT_CAPTURED', 'COMPENSATING')
    WHEN 'PAYMENT_CAPTURED' THEN NEW.status IN ('COMPLETED', 'COMPENSATING')
    WHEN 'COMPENSATING' THEN NEW.status IN ('COMPENSATING', 'FAILED')
      OR NEW.status = 'COMPLETED' AND OLD.compensating_from = 'PAYMENT_CAPTURED' AND OLD.undone = '{}'
    ELSE false END;
  IF NOT is_legal OR NEW.claim_number < OLD.claim_number OR NOT NEW.undone @> OLD.undone
      OR NEW.compensating_from IS DISTINCT FROM
        COALESCE(OLD.compensating_from, CASE WHEN NEW.status = 'COMPENSATING' THEN OLD.status END) THEN
    RAISE EXCEPTION 'order_ledger %: % (claim %) may not become % (claim %)',
      OLD.id, OLD.status, OLD.claim_number, NEW.status, NEW.claim_number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'order_ledger_legal_move';
  END IF;
  INSERT INTO order_ledger_history (order_ledger_id, at, from_status, to_status, detail, claim_number)
    VALUES (NEW.id, clock_timestamp(), OLD.status, NEW.status, NEW.status_detail, NEW.claim_number);
  RETURN NULL;
END $$;

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


def downgrade() -> None:
    op.execute(
        "DROP TABLE rate_limits, refused_requests, outbox, order_ledger_history, order_ledger_items, order_ledger"
    )
    op.execute("DROP FUNCTION order_ledger_guard()")
