"""The tables of webhooks. The Edge API writes endpoints and secrets, the process `webhooks` the deliveries."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from common.schema.tables import TransactionId, id_column, identifier, is_one_of, metadata, time_column
from common.webhooks.deliveries import MAX_RESPONSE_CHARACTERS, STATUSES
from webhooks.alert_models import operator_alerts

__all__ = ["operator_alerts", "webhook_deliveries", "webhook_endpoints", "webhook_secrets"]

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("client", identifier(), nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("description", Text),
    Column("status", Text, nullable=False, server_default=text("'enabled'")),
    time_column("disabled_at", nullable=True),
    Column("disabled_reason", Text),
    # The last event for which deliveries were made, in the order of the feed
    Column("cursor_xid", TransactionId, nullable=False),
    Column("cursor_position", BigInteger, nullable=False, server_default=text("0")),
    # Whether the receiver works: the first failed attempt since the last 2xx, and how many warnings followed
    time_column("last_success_at", nullable=True),
    time_column("failing_since", nullable=True),
    Column("warnings", Integer, nullable=False, server_default=text("0")),
    time_column("created_at"),
    time_column("updated_at"),
    # A deleted endpoint keeps its row, for its deliveries. Nobody can see it, and its secrets are gone
    time_column("deleted_at", nullable=True),
    CheckConstraint(is_one_of("status", ("enabled", "disabled")), name="status"),
    CheckConstraint(
        "(status = 'disabled') = (disabled_at IS NOT NULL) AND (disabled_at IS NULL) = (disabled_reason IS NULL)",
        name="disabled",
    ),
    CheckConstraint("cardinality(event_types) > 0", name="event_types"),
    CheckConstraint("warnings >= 0 AND (warnings = 0 OR failing_since IS NOT NULL)", name="warnings"),
    Index(None, "client", "created_at", "id"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("secret", Text, nullable=False),
    time_column("valid_until", nullable=True),  # of a former secret; it is deleted afterwards
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("secret ~ '^whsec_[A-Za-z0-9+/]{43}=$'", name="secret"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), nullable=False),
    # What is delivered. A test belongs to no event. A delivery ends with its event.
    Column("event_id", ForeignKey("events.id", ondelete="CASCADE")),
    Column("message_id", identifier(), nullable=False),
    Column("type", Text, nullable=False),
    id_column("order_ledger_id", nullable=True),
    Column("sequence", Integer),
    # Claiming looks at `due_at` only. 'infinity': an earlier event of the order has to be delivered first
    Column("status", identifier(), nullable=False, server_default=text("'pending'")),
    time_column("due_at", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("first_attempt_at", nullable=True),
    time_column("last_attempt_at", nullable=True),
    # The lease
    Column("claimed_by", Text),
    time_column("claimed_until", nullable=True),
    Column("claim_number", Integer, nullable=False, server_default=text("0")),
    # What the receiver answered last, or why there was no answer
    Column("response_status", Integer),
    Column("response_body", Text),
    Column("error", Text),
    time_column("created_at"),
    time_column("ended_at", nullable=True),
    UniqueConstraint("event_id", "endpoint_id"),
    CheckConstraint(is_one_of("status", STATUSES), name="status"),
    CheckConstraint(
        "(status = 'pending') = (due_at IS NOT NULL) AND (status = 'pending') = (ended_at IS NULL)", name="pending"
    ),
    CheckConstraint(
        "(claimed_by IS NULL) = (claimed_until IS NULL) AND (claimed_by IS NULL OR status = 'pending')", name="claim"
    ),
    CheckConstraint(
        "(event_id IS NULL) = (order_ledger_id IS NULL) AND (event_id IS NULL) = (sequence IS NULL)"
        " AND (event_id IS NULL OR event_id = message_id)",
        name="event",
    ),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint(f"length(response_body) <= {MAX_RESPONSE_CHARACTERS}", name="response_body"),
    Index(None, "endpoint_id", "created_at", "id"),
    Index("ix_webhook_deliveries_due", "endpoint_id", "due_at", postgresql_where=text("status = 'pending'")),
    Index(
        "ix_webhook_deliveries_pending_of_order",
        *("endpoint_id", "order_ledger_id", "sequence"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_webhook_deliveries_claimed",
        *("endpoint_id", "claimed_until"),
        postgresql_where=text("claimed_until IS NOT NULL"),
    ),
    Index(
        "ix_webhook_deliveries_not_succeeded",
        *("endpoint_id", "status", "created_at", "id"),
        postgresql_where=text("status <> 'succeeded'"),
    ),
)
