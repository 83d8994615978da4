"""The table of alerts to operators. Only the process `webhooks` writes it."""

from sqlalchemy import CheckConstraint, Column, Integer, Table, Text, UniqueConstraint, text

from common.schema.tables import identifier, is_one_of, metadata, time_column

operator_alerts = Table(
    "operator_alerts",
    metadata,
    # A condition. Its row stays after its end, and serves again when it comes back
    Column("kind", identifier(), primary_key=True),
    Column("subject", identifier(), primary_key=True),
    # How large it is, and what was told last – or a smaller number that it has had since
    Column("count", Integer, nullable=False),
    Column("told_count", Integer, nullable=False),
    time_column("began_at"),
    time_column("seen_at"),
    time_column("ended_at", nullable=True),
    # The message that is not delivered yet, and when it was made. After its delivery only the time is left
    Column("event", Text),
    Column("message_id", identifier()),
    time_column("told_at"),
    # When it is sent; while it is claimed, the end of the lease
    time_column("due_at", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("claim_number", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("message_id"),
    CheckConstraint("count > 0 AND told_count > 0", name="count"),
    CheckConstraint(is_one_of("event", ("began", "grew", "ended")), name="event"),
    CheckConstraint("event IS NULL OR (event = 'ended') = (ended_at IS NOT NULL)", name="ended"),
    CheckConstraint(
        "(message_id IS NULL) = (event IS NULL) AND (message_id IS NULL) = (due_at IS NULL)", name="message"
    ),
    CheckConstraint("attempts >= 0", name="attempts"),
)
