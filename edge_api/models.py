"""The tables of the ledger. The Edge API writes the beginning of an entry, the orchestrator the rest."""

from sqlalchemy import (
    ARRAY,
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from common.schema.tables import (
    cents_column,
    id_column,
    idempotency_table,
    identifier,
    is_one_of,
    metadata,
    time_column,
    trace_parent_check,
    trace_parent_column,
)
from domain.money import MAX_CENTS
from domain.states import Status
from edge_api.client_models import client_keys, declines, rate_limits, request_rates
from edge_api.event_models import ADD_EVENT, deleted_events, events
from edge_api.ledger_functions import KEY_FUNCTIONS, LEDGER_GUARD
from edge_api.refund_models import refund_items, refunds, set_aside_refunds

__all__ = [
    "client_keys",
    "declines",
    "deleted_events",
    "events",
    "rate_limits",
    "refund_items",
    "refunds",
    "request_rates",
    "set_aside_refunds",
]

order_ledger = Table(
    "order_ledger",
    metadata,
    id_column(),
    # The request
    Column("client", identifier(), nullable=False),
    Column("client_request_id", identifier(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    id_column("user_id", nullable=False),
    Column("email", Text, nullable=False),
    # The shop's own order number and notes
    Column("reference", identifier(255)),
    Column("metadata", JSONB),
    cents_column("total_amount_cents"),
    Column("currency", String(3), nullable=False),
    # What refunds have returned, and what all refunds that have not failed return. Triggers write both.
    Column("refunded_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("refund_reserved_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("request_id", Text, nullable=False),
    trace_parent_column(),
    # The state of the saga
    Column("status", Text, nullable=False),
    Column("status_detail", Text),
    Column("payment_authorization_id", Text),
    id_column("order_id", nullable=True),
    Column("compensating_from", Text),
    Column("undone", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("failure_code", Text),
    Column("failure_message", Text),
    # The lease, and when the entry is to be claimed: claiming looks at `due_at` only
    time_column("due_at", nullable=True),
    Column("claimed_by", Text),
    time_column("claimed_until", nullable=True),
    Column("claim_number", Integer, nullable=False, server_default=text("0")),
    Column("unproductive_claims", Integer, nullable=False, server_default=text("0")),
    Column("retry_count", Integer, nullable=False, server_default=text("0")),
    time_column("next_retry_at", nullable=True),
    time_column("needs_attention_at", nullable=True),
    Column("attention_reason", Text),
    # The stored response
    Column("response_status", Integer),
    Column("response_body", Text),
    time_column("created_at"),
    time_column("updated_at"),
    # The client's wish to cancel, which the saga obeys at its next checkpoint
    time_column("cancel_requested_at", nullable=True),
    Column("cancel_reason", Text),
    Column("cancel_note", Text),
    # When `ops retain` deleted the rows of a finished entry in these tables, which the audit then does not miss
    time_column("history_deleted_at", nullable=True),
    time_column("event_deleted_at", nullable=True),
    # False: it began before there were events, so that some of its may be missing
    Column("has_events", Boolean, nullable=False, server_default=text("true")),
    UniqueConstraint("client", "client_request_id"),
    CheckConstraint(
        "(cancel_requested_at IS NULL) = (cancel_reason IS NULL) AND"
        " (cancel_requested_at IS NOT NULL OR cancel_note IS NULL)",
        name="cancellation",
    ),
    CheckConstraint(is_one_of("status", tuple(Status)), name="status"),
    CheckConstraint(f"total_amount_cents BETWEEN 1 AND {MAX_CENTS}", name="total_amount_cents"),
    CheckConstraint("refunded_cents BETWEEN 0 AND total_amount_cents", name="refunded_cents"),
    CheckConstraint(
        "refund_reserved_cents BETWEEN refunded_cents AND total_amount_cents", name="refund_reserved_cents"
    ),
    CheckConstraint("refund_reserved_cents = 0 OR status = 'COMPLETED'", name="refund_reserved_is_completed"),
    CheckConstraint(
        "(status IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED')) = (due_at IS NULL)", name="due_until_terminal"
    ),
    trace_parent_check(),
    CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
    CheckConstraint("(needs_attention_at IS NULL) = (attention_reason IS NULL)", name="attention"),
    CheckConstraint("(response_status IS NULL) = (response_body IS NULL)", name="response"),
    CheckConstraint(
        "payment_authorization_id IS NOT NULL OR status IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED')",
        name="authorized_has_authorization",
    ),
    CheckConstraint("status <> 'COMPENSATING' OR compensating_from IS NOT NULL", name="compensating_from"),
    CheckConstraint(
        "status NOT IN ('AUTHORIZATION_FAILED', 'FAILED') OR failure_code IS NOT NULL", name="failure_has_reason"
    ),
    # FAILED means that nothing is left behind: every undo that may be needed has succeeded.
    CheckConstraint(
        "status <> 'FAILED' OR undone @> CASE WHEN compensating_from = 'AUTHORIZED'"
        " THEN '{void_payment,cancel_order}'::text[]"
        " ELSE '{void_payment,release_inventory,cancel_order}'::text[] END",
        name="failed_is_undone",
    ),
    Index("ix_order_ledger_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index(
        "ix_order_ledger_needs_attention_at",
        "needs_attention_at",
        postgresql_where=text("needs_attention_at IS NOT NULL"),
    ),
    # Lists of a client's orders, newest first (edge_api/listing.py). None has the status: it changes with each step.
    # The expression is written as PostgreSQL shows it.
    Index(None, "client", "created_at", "id"),
    Index(None, "client", "user_id", "created_at", "id"),
    Index("ix_order_ledger_request_id", text('request_id COLLATE "C"')),  # for the console's search
    Index("ix_order_ledger_email", "client", text('lower(email COLLATE "C")'), "created_at", "id"),
    Index(
        "ix_order_ledger_reference",
        *("client", "reference", "created_at", "id"),
        postgresql_where=text("reference IS NOT NULL"),
    ),
    Index(
        "ix_order_ledger_failed",
        *("client", "created_at", "id"),
        postgresql_where=text("due_at IS NULL AND undone <> '{}'"),
    ),
    Index(
        "ix_order_ledger_declined",
        *("client", "created_at", "id"),
        postgresql_where=text("due_at IS NULL AND payment_authorization_id IS NULL"),
    ),
    Index(
        "ix_order_ledger_refunded_as",
        "client",
        text("(\nCASE refunded_cents\n    WHEN total_amount_cents THEN 1\n    ELSE 0\nEND)"),
        *("created_at", "id"),
        postgresql_where=text("refunded_cents > 0"),
    ),
    # Free space on each page keeps the checkpoints heap-only: they change no indexed column.
    postgresql_with={"fillfactor": "70"},
)

order_ledger_items = Table(
    "order_ledger_items",
    metadata,
    Column("order_ledger_id", ForeignKey("order_ledger.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    id_column("product_id", nullable=False),
    Column("quantity", Integer, nullable=False),
    cents_column("unit_price_cents"),
    Column("refunded_quantity", Integer, nullable=False, server_default=text("0")),  # written by a trigger
    UniqueConstraint("order_ledger_id", "product_id"),
    CheckConstraint("quantity BETWEEN 1 AND 100", name="quantity"),
    CheckConstraint("refunded_quantity BETWEEN 0 AND quantity", name="refunded_quantity"),
    CheckConstraint(f"unit_price_cents BETWEEN 1 AND {MAX_CENTS}", name="unit_price_cents"),
)

order_ledger_history = Table(
    "order_ledger_history",
    metadata,
    Column("order_ledger_id", ForeignKey("order_ledger.id"), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # numbers the rows of one entry
    time_column("at"),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("detail", Text),
    Column("claim_number", Integer, nullable=False),
)

# The requests of the sagas that were refused or not answered. The orchestrator adds rows and changes none. There is no
# foreign key: its check would lock an order after its refund, and everybody locks orders first.
attempts = Table(
    "attempts",
    metadata,
    id_column("order_ledger_id", primary_key=True),
    Column("began_at", DateTime(timezone=True), primary_key=True),
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    id_column("refund_id", nullable=True),
    Column("step", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("took_ms", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("http_status", Integer),  # null: no answer came
    Column("code", Text),
    Column("message", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    CheckConstraint(is_one_of("kind", ("refused", "unanswered")), name="kind"),
    CheckConstraint("length(message) <= 500", name="message"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("order_ledger_id", ForeignKey("order_ledger.id"), primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'PENDING'")),
    time_column("created_at"),
    time_column("processed_at", nullable=True),
    CheckConstraint(is_one_of("status", ("PENDING", "PROCESSED", "FAILED")), name="status"),
    CheckConstraint("(status = 'PENDING') = (processed_at IS NULL)", name="processed_at"),
)

# The first responses to calls with a key, other than POST /orders (edge_api/commands.py)
idempotency_keys = idempotency_table("edge_idempotency_keys", scope="client")

# Entries that the database refuses to write, recorded here because they cannot be marked themselves. There is no
# foreign key, because its check would have to lock that very row.
set_aside_entries = Table(
    "set_aside_entries",
    metadata,
    id_column("order_ledger_id", primary_key=True),
    Column("reason", Text, nullable=False),
    time_column("since"),
    time_column("retry_at", nullable=True),  # null: it has been claimed since
)

# Entries of persons who asked for erasure (`ops erase`). Their data is erased once the order has ended.
pending_erasures = Table(
    "pending_erasures",
    metadata,
    id_column("order_ledger_id", primary_key=True),
    time_column("requested_at"),
)

# Responses of keys without an entry: of requests that were refused before one was made (422 unknown_product), and of
# those whose entry `ops retain` has deleted (409 request_expired).
refused_requests = Table(
    "refused_requests",
    metadata,
    Column("client", identifier(), primary_key=True),
    Column("client_request_id", identifier(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("response_status", Integer, nullable=False),
    Column("response_body", Text, nullable=False),
    time_column("created_at"),
)

event.listen(refused_requests, "after_create", DDL(KEY_FUNCTIONS.replace("%", "%%")))  # type: ignore[no-untyped-call]
event.listen(outbox, "after_create", DDL(ADD_EVENT + LEDGER_GUARD.replace("%", "%%")))  # type: ignore[no-untyped-call]
