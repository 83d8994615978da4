"""The tables of clients: their keys, how much each may send, and the declined payments that are counted."""

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, Double, Index, LargeBinary, Table, Text

from common.schema.tables import identifier, metadata, time_column

client_keys = Table(
    "client_keys",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("client", identifier(), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    time_column("created_at"),
    time_column("expires_at", nullable=True),
    time_column("revoked_at", nullable=True),
    time_column("last_used_at", nullable=True),
    CheckConstraint("octet_length(secret_sha256) = 32", name="secret_sha256"),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("client", identifier(), primary_key=True),
    Column("tokens", Double, nullable=False),
    time_column("refilled_at"),
    CheckConstraint("tokens >= 0", name="tokens"),
)

# Requests of a key or of an address. The address is a digest. Rows are deleted when they are an hour old.
request_rates = Table(
    "request_rates",
    metadata,
    Column("subject", identifier(), primary_key=True),
    Column("tokens", Double, nullable=False),
    time_column("refilled_at"),
    CheckConstraint("tokens >= 0", name="tokens"),
    Index(None, "refilled_at"),
)

declines = Table(
    "declines",
    metadata,
    Column("subject", identifier(), primary_key=True),
    Column("at", DateTime(timezone=True), primary_key=True),
    Index(None, "at"),
)
