"""Payments: the books of the simulated gateway, and the changes of status that it allows."""

from __future__ import annotations

from alembic import op

revision = "holdfast_0003"
down_revision = "holdfast_0002"
branch_labels = None
depends_on = None

AUTHORIZATIONS = """
CREATE TABLE payment_authorizations (
    id text CONSTRAINT pk_payment_authorizations PRIMARY KEY,
    idempotency_key varchar(255) NOT NULL CONSTRAINT uq_payment_authorizations_idempotency_key UNIQUE,
    user_id uuid,
    amount_cents bigint,
    currency varchar(3),
    status text NOT NULL,
    decline_code text,
    refuses_capture boolean NOT NULL DEFAULT false,
    capture_id text CONSTRAINT uq_payment_authorizations_capture_id UNIQUE,
    captured_amount_cents bigint,
    captured_at timestamptz,
    refunded_amount_cents bigint NOT NULL DEFAULT 0,
    voided_at timestamptz,
    void_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_payment_authorizations_status
        CHECK (status IN ('AUTHORIZED', 'CAPTURED', 'VOIDED', 'REFUNDED', 'DECLINED')),
    CONSTRAINT ck_payment_authorizations_amount CHECK (amount_cents BETWEEN 1 AND 999999999999),
    CONSTRAINT ck_payment_authorizations_tombstone
        CHECK (num_nulls(user_id, amount_cents, currency) = 0
            OR num_nulls(user_id, amount_cents, currency) = 3 AND status = 'VOIDED'),
    CONSTRAINT ck_payment_authorizations_declined CHECK ((status = 'DECLINED') = (decline_code IS NOT NULL)),
    CONSTRAINT ck_payment_authorizations_captured
        CHECK (num_nulls(capture_id, captured_amount_cents, captured_at)
            = CASE WHEN status IN ('CAPTURED', 'REFUNDED') THEN 0 ELSE 3 END),
    CONSTRAINT ck_payment_authorizations_captured_amount CHECK (captured_amount_cents BETWEEN 1 AND amount_cents),
    CONSTRAINT ck_payment_authorizations_refuses_capture CHECK (NOT (refuses_capture AND capture_id IS NOT NULL)),
    CONSTRAINT ck_payment_authorizations_refunded_amount
        CHECK (refunded_amount_cents BETWEEN 0 AND COALESCE(captured_amount_cents, 0)),
    CONSTRAINT ck_payment_authorizations_refunded
        CHECK ((status = 'REFUNDED') = (refunded_amount_cents IS NOT DISTINCT FROM captured_amount_cents)),
    CONSTRAINT ck_payment_authorizations_voided CHECK ((status = 'VOIDED') = (voided_at IS NOT NULL)),
    CONSTRAINT ck_payment_authorizations_void_reason CHECK (void_reason IS NULL OR status = 'VOIDED')
)
"""
REFUNDS = """
CREATE TABLE payment_refunds (
    id text CONSTRAINT pk_payment_refunds PRIMARY KEY,
    authorization_id text NOT NULL CONSTRAINT fk_payment_refunds_authorization_id_payment_authorizations
        REFERENCES payment_authorizations (id),
    amount_cents bigint NOT NULL CONSTRAINT ck_payment_refunds_amount CHECK (amount_cents > 0),
    reason text,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
REFUNDS_INDEX = "CREATE INDEX ix_payment_refunds_authorization_id ON payment_refunds (authorization_id)"
IDEMPOTENCY_KEYS = """
CREATE TABLE payment_idempotency_keys (
    scope text,
    key varchar(255),
    fingerprint varchar(64) NOT NULL,
    status bigint,
    body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_payment_idempotency_keys PRIMARY KEY (scope, key),
    CONSTRAINT ck_payment_idempotency_keys_answer CHECK ((status IS NULL) = (body IS NULL))
)
"""
STATUS_FUNCTION = """
CREATE FUNCTION refuse_payment_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('AUTHORIZED', 'CAPTURED'), ('AUTHORIZED', 'VOIDED'), ('CAPTURED', 'REFUNDED')
    ) THEN
        RAISE check_violation USING MESSAGE = 'a payment cannot go from ' || OLD.status || ' to ' || NEW.status;
    END IF;
    RETURN NEW;
END $$
"""
STATUS_TRIGGER = """
CREATE TRIGGER payment_authorizations_status BEFORE UPDATE ON payment_authorizations
FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION refuse_payment_status_change()
"""


def upgrade() -> None:
    for statement in (AUTHORIZATIONS, REFUNDS, REFUNDS_INDEX, IDEMPOTENCY_KEYS, STATUS_FUNCTION, STATUS_TRIGGER):
        op.execute(statement)


def downgrade() -> None:
    for table in ("payment_idempotency_keys", "payment_refunds", "payment_authorizations"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_payment_status_change()")
