"""Jobs: one action of an operator on all orders that fit a filter."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, SmallInteger, String, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from common.schema.tables import id_column, identifier, is_one_of, metadata, time_column
from console.job_states import ACTIONS, FILLING, MAX_RATE, RESULTS, STATES, STOP_REASONS

# The orders are collected first. One worker at a time holds the claim, and acts on them in the order of their numbers.
bulk_jobs = Table(
    "bulk_jobs",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    Column("author", identifier(), nullable=False),
    Column("key", identifier(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("operator_key_id", identifier()),  # the job stops if this key is revoked; none: the author had no key
    Column("action", identifier(), nullable=False),
    Column("filter", JSONB, nullable=False),  # without a person's data once the orders are collected or the job ends
    Column("reason", Text, nullable=False),
    Column("note", Text),  # for the orders; until the job ends
    Column("rate_per_s", SmallInteger, nullable=False),
    Column("state", identifier(), nullable=False, server_default=FILLING),
    Column("stop_reason", identifier()),
    Column("stopped_by", identifier()),
    time_column("after_created_at", nullable=True),  # the last order that was collected
    id_column("after_id", nullable=True),
    Column("total", Integer, nullable=False, server_default=text("0")),
    Column("next_number", Integer, nullable=False, server_default=text("1")),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("refused", Integer, nullable=False, server_default=text("0")),
    Column("claimed_by", Text),
    time_column("claimed_until", nullable=True),
    Column("claim_number", Integer, nullable=False, server_default=text("0")),
    time_column("created_at"),
    time_column("ended_at", nullable=True),
    CheckConstraint(is_one_of("action", ACTIONS), name="action"),
    CheckConstraint(is_one_of("state", STATES), name="state"),
    CheckConstraint(is_one_of("stop_reason", STOP_REASONS), name="stop_reason"),
    CheckConstraint("(state = 'stopped') = (stop_reason IS NOT NULL)", name="stopped"),
    CheckConstraint("(state IN ('done', 'stopped')) = (ended_at IS NOT NULL)", name="ended"),
    CheckConstraint(f"rate_per_s BETWEEN 1 AND {MAX_RATE}", name="rate"),
    CheckConstraint("length(reason) BETWEEN 1 AND 500", name="reason"),
    CheckConstraint("length(note) BETWEEN 1 AND 500", name="note"),
    CheckConstraint("done + refused = next_number - 1 AND next_number <= total + 1", name="sums"),
    Index("uq_bulk_jobs_author", "author", "key", unique=True),
    Index(None, "created_at", "id"),
    Index("ix_bulk_jobs_open", "created_at", postgresql_where=text("state IN ('filling', 'running')")),
)

bulk_job_items = Table(
    "bulk_job_items",
    metadata,
    Column("job_id", UUID(as_uuid=False), ForeignKey("bulk_jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1, the newest order first
    id_column("order_ledger_id"),  # no foreign key: its check would lock the order
    Column("result", identifier()),
    Column("code", identifier()),
    Column("message", Text),
    time_column("ended_at", nullable=True),
    CheckConstraint(is_one_of("result", RESULTS), name="result"),
    CheckConstraint("(result IS NULL) = (ended_at IS NULL)", name="ended"),
    CheckConstraint(
        "CASE WHEN result = 'refused' THEN code IS NOT NULL AND message IS NOT NULL"
        " ELSE code IS NULL AND message IS NULL END",
        name="refusal",
    ),
    Index("uq_bulk_job_items_order_ledger_id", "order_ledger_id", "job_id", unique=True),
    Index("ix_bulk_job_items_refused", "job_id", "number", postgresql_where=text("result = 'refused'")),
)
