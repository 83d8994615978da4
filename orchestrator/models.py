"""The tables of the sums by the minute (see common/ledger/sums.py)."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Integer,
    Table,
    text,
)

from common.ledger.durations import CLASSES
from common.ledger.statements import COUNTED
from common.schema.tables import TransactionId, identifier, metadata

_NO_ORDERS = "'{" + ",".join("0" * CLASSES) + "}'"

# What happened in each minute, by the time of the events.
order_minutes = Table(
    "order_minutes",
    metadata,
    Column("minute", DateTime(timezone=True), primary_key=True),
    *(Column(name, Integer, nullable=False, server_default=text("0")) for name in COUNTED),
    # Completed orders, by their time from the request
    Column("durations", ARRAY(Integer), nullable=False, server_default=text(f"{_NO_ORDERS}::integer[]")),
    CheckConstraint(f"cardinality(durations) = {CLASSES}", name="durations"),
)

# One row: what happened in all, and how far the events are counted.
order_totals = Table(
    "order_totals",
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=text("true")),
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in COUNTED),
    Column("durations", ARRAY(BigInteger), nullable=False, server_default=text(f"{_NO_ORDERS}::bigint[]")),
    Column("duration_s", Double, nullable=False, server_default=text("0")),
    # The last event that is counted, and its place
    Column("event_id", identifier(), nullable=False, server_default=text("''")),
    Column("xid", TransactionId, nullable=False, server_default=text("'0'::xid8")),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    # After a restore on another server: the place up to which its events were counted
    Column("renumbered_after", BigInteger),
    CheckConstraint("is_only", name="is_only"),
    CheckConstraint(f"cardinality(durations) = {CLASSES}", name="durations"),
)
