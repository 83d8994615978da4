"""The simulated gateway's books. The database itself refuses illegal changes."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    event,
    false,
    text,
)

from common.schema.tables import (
    cents_column,
    id_column,
    idempotency_table,
    identifier,
    is_one_of,
    metadata,
    time_column,
)
from domain.money import MAX_CENTS
from payments_service.domain import IDEMPOTENCY_TABLE, REFUND_STATUSES, STATUSES

# A row without user, amount and currency is a tombstone: its key or its id was voided before any authorize arrived. It
# is in this table so that one unique index decides between the void and a concurrent authorize.
payment_authorizations = Table(
    "payment_authorizations",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("idempotency_key", identifier(255), nullable=False, unique=True),
    id_column("user_id", nullable=True),
    cents_column("amount_cents", nullable=True),
    Column("currency", String(3)),
    Column("status", Text, nullable=False),
    Column("decline_code", Text),
    Column("refuses_capture", Boolean, nullable=False, server_default=false()),
    Column("refuses_refund", Boolean, nullable=False, server_default=false()),
    Column("delays_refund", Boolean, nullable=False, server_default=false()),
    Column("capture_id", identifier(), unique=True),
    cents_column("captured_amount_cents", nullable=True),
    time_column("captured_at", nullable=True),
    Column("refunded_amount_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("pending_refund_cents", BigInteger, nullable=False, server_default=text("0")),
    time_column("voided_at", nullable=True),
    Column("void_reason", Text),
    time_column("created_at"),
    Column("gateway", Text),  # null: the simulated one
    time_column("capture_before", nullable=True),  # the gateway ends the hold then; null: never
    CheckConstraint(is_one_of("status", STATUSES), name="status"),
    CheckConstraint(f"amount_cents BETWEEN 1 AND {MAX_CENTS}", name="amount"),
    CheckConstraint(
        "num_nulls(user_id, amount_cents, currency) = 0"
        " OR num_nulls(user_id, amount_cents, currency) = 3 AND status = 'VOIDED'",
        name="tombstone",
    ),
    CheckConstraint("(status = 'DECLINED') = (decline_code IS NOT NULL)", name="declined"),
    CheckConstraint(
        "num_nulls(capture_id, captured_amount_cents, captured_at)"
        " = CASE WHEN status IN ('CAPTURED', 'REFUNDED') THEN 0 ELSE 3 END",
        name="captured",
    ),
    CheckConstraint("captured_amount_cents BETWEEN 1 AND amount_cents", name="captured_amount"),
    CheckConstraint("NOT (refuses_capture AND capture_id IS NOT NULL)", name="refuses_capture"),
    CheckConstraint("refunded_amount_cents BETWEEN 0 AND COALESCE(captured_amount_cents, 0)", name="refunded_amount"),
    CheckConstraint(
        "(status = 'REFUNDED') = (refunded_amount_cents IS NOT DISTINCT FROM captured_amount_cents)", name="refunded"
    ),
    CheckConstraint(
        "pending_refund_cents BETWEEN 0 AND COALESCE(captured_amount_cents, 0) - refunded_amount_cents",
        name="pending_refund",
    ),
    CheckConstraint("NOT refuses_refund OR refunded_amount_cents + pending_refund_cents = 0", name="refuses_refund"),
    CheckConstraint("(status = 'VOIDED') = (voided_at IS NOT NULL)", name="voided"),
    CheckConstraint("void_reason IS NULL OR status = 'VOIDED'", name="void_reason"),
    Index(
        "ix_payment_authorizations_capture_before",
        "capture_before",
        postgresql_where=text("status = 'AUTHORIZED' AND capture_before IS NOT NULL"),
    ),
)

payment_refunds = Table(
    "payment_refunds",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("authorization_id", ForeignKey(payment_authorizations.c.id), nullable=False),
    Column("idempotency_key", identifier(255), unique=True),  # null: of an earlier release
    cents_column("amount_cents"),
    Column("reason", Text),
    Column("status", Text, nullable=False, server_default=text("'REFUNDED'")),
    time_column("created_at"),
    time_column("settled_at", nullable=True),  # of a refund that was pending
    time_column("failed_at", nullable=True),  # the gateway failed it after it had returned the money
    CheckConstraint("amount_cents > 0", name="amount"),
    CheckConstraint(is_one_of("status", REFUND_STATUSES), name="status"),
    CheckConstraint("status <> 'PENDING' OR settled_at IS NULL", name="settled_at"),
    CheckConstraint("(status = 'FAILED') = (failed_at IS NOT NULL)", name="failed_at"),
    Index(None, "authorization_id"),
    Index("ix_payment_refunds_pending", "id", postgresql_where=text("status = 'PENDING'")),
    Index("ix_payment_refunds_failed", "id", postgresql_where=text("status = 'FAILED'")),
)

# What a remote gateway was asked to hold. A row is written before the gateway is asked. `gateway_id` is known before
# money is held, and `closed_at` keeps a later request from leaving. A row without an amount is a tombstone: its key was
# voided first.
gateway_holds = Table(
    "gateway_holds",
    metadata,
    Column("authorization_key", identifier(255), primary_key=True),
    Column("authorization_id", identifier(), nullable=False, unique=True),
    Column("gateway", Text, nullable=False),
    Column("gateway_id", identifier(), unique=True),
    cents_column("amount_cents", nullable=True),
    Column("currency", String(3)),
    Column("fingerprint", String(64)),
    time_column("closed_at", nullable=True),
    time_column("created_at"),
    CheckConstraint(
        "num_nulls(amount_cents, currency, fingerprint) = 0"
        " OR num_nulls(amount_cents, currency, fingerprint, gateway_id) = 4 AND closed_at IS NOT NULL",
        name="asked",
    ),
)

# What it was asked to refund. The refund is a row of payment_refunds as soon as the gateway has returned the money. The
# gateway may fail it later: `look_at` says when it is asked again. `noted_at`: the refund's saga knows of the failure.
gateway_refunds = Table(
    "gateway_refunds",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("authorization_id", identifier(), nullable=False, index=True),
    Column("idempotency_key", identifier(255), nullable=False, unique=True),
    Column("fingerprint", String(64), nullable=False),
    cents_column("amount_cents"),
    Column("gateway_id", identifier(), unique=True),
    time_column("created_at"),
    Column("look_at", DateTime(timezone=True), server_default=text("(now() + '1 day'::interval)")),
    time_column("noted_at", nullable=True),
    CheckConstraint("amount_cents > 0", name="amount"),
    Index("ix_gateway_refunds_look_at", "look_at", postgresql_where=text("look_at IS NOT NULL")),
)

payment_idempotency_keys = idempotency_table(IDEMPOTENCY_TABLE)

STATUS_FUNCTION = """
CREATE FUNCTION refuse_payment_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('AUTHORIZED', 'CAPTURED'), ('AUTHORIZED', 'VOIDED'), ('CAPTURED', 'REFUNDED'), ('REFUNDED', 'CAPTURED')
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
for moment, statement in (
    ("after_create", STATUS_FUNCTION),
    ("after_create", STATUS_TRIGGER),
    ("after_drop", "DROP FUNCTION refuse_payment_status_change()"),
):
    event.listen(payment_authorizations, moment, DDL(statement))  # type: ignore[no-untyped-call]
