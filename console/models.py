"""The console's own tables: who its operators are, and what they say about orders."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import UUID

from common.credentials.operator_keys import ROLES
from common.schema.tables import id_column, identifier, is_one_of, metadata, time_column
from console.job_models import bulk_job_items, bulk_jobs  # noqa: F401  # declared with the others

operator_keys = Table(
    "operator_keys",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("name", identifier(), nullable=False),
    Column("role", identifier(), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    time_column("created_at"),
    time_column("expires_at", nullable=True),
    time_column("revoked_at", nullable=True),
    time_column("last_used_at", nullable=True),
    CheckConstraint(is_one_of("role", ROLES), name="role"),
    CheckConstraint("octet_length(secret_sha256) = 32", name="secret_sha256"),
)

# A browser that is signed in. Only a digest of its token is kept. A session by a key ends with the key.
operator_sessions = Table(
    "operator_sessions",
    metadata,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column("name", identifier(), nullable=False),
    Column("role", identifier(), nullable=False),
    Column("key_id", identifier()),
    Column("notice", Text),  # what the next page tells: the result of an action
    time_column("created_at"),
    time_column("expires_at"),
    CheckConstraint(is_one_of("role", ROLES), name="role"),
    CheckConstraint("octet_length(token_sha256) = 32", name="token_sha256"),
    Index(None, "expires_at"),
    Index(None, "name"),
)

# There is no foreign key: its check would lock the order.
order_notes = Table(
    "order_notes",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
    id_column("order_ledger_id", nullable=False),
    time_column("at"),
    Column("author", identifier(), nullable=False),
    Column("text", Text, nullable=False),
    CheckConstraint("length(text) BETWEEN 1 AND 2000", name="text"),
    Index(None, "order_ledger_id", "at"),
)

# An operator has dealt with an order or a refund that needs attention. The mark is hidden until it fails again.
dealt_with = Table(
    "dealt_with",
    metadata,
    id_column("subject_id", primary_key=True),  # of the order or of the refund
    time_column("at"),
    Column("author", identifier(), nullable=False),
    Column("reason", Text, nullable=False),
    Column("retry_count", Integer, nullable=False),
    CheckConstraint("length(reason) BETWEEN 1 AND 500", name="reason"),
)
