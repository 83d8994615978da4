"""The tables of events. Only the database writes to `events`, with the function `add_event`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from common.schema.tables import TransactionId, id_column, identifier, is_one_of, metadata, time_column
from domain.events import EventType

# There is no foreign key to the ledger: only `add_event` inserts, with the entry at hand. The check would cost every
# order, and the audit finds an event without an entry.
events = Table(
    "events",
    metadata,
    Column("id", identifier(), primary_key=True),
    # The place in the feed (docs/decisions/0053)
    Column("xid", TransactionId(), nullable=False, server_default=text("pg_current_xact_id()")),
    Column(
        "position",
        BigInteger,
        nullable=False,
        server_default=text("((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint"),
    ),
    Column("client", identifier(), nullable=False),
    id_column("order_ledger_id", nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("type", identifier(), nullable=False),
    time_column("at"),
    # What the change has made of the order
    Column("status", Text, nullable=False),
    id_column("order_id", nullable=True),
    Column("refunded_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("failure_code", Text),
    Column("failure_message", Text),
    id_column("refund_id", nullable=True),
    UniqueConstraint("order_ledger_id", "sequence"),
    CheckConstraint("sequence >= 1", name="sequence"),
    CheckConstraint(is_one_of("type", tuple(EventType)), name="type"),
    CheckConstraint(
        f"({is_one_of('type', (EventType.REFUND_SUCCEEDED, EventType.REFUND_FAILED))}) = (refund_id IS NOT NULL)",
        name="refund_id",
    ),
    # One index for the feed and its filter by type: the feed of all types is merged from one range for each.
    Index(None, "client", "type", "xid", "position"),
    # A refund succeeds once, and fails once.
    Index("uq_events_refund_id_type", "refund_id", "type", unique=True, postgresql_where=text("refund_id IS NOT NULL")),
)

# The newest event of each client and type that `ops retain` has deleted, so that the feed and the audit know.
deleted_events = Table(
    "deleted_events",
    metadata,
    Column("client", identifier(), primary_key=True),
    Column("type", identifier(), primary_key=True),
    Column("xid", TransactionId(), nullable=False),
    Column("position", BigInteger, nullable=False),
    time_column("at"),
    CheckConstraint(is_one_of("type", tuple(EventType)), name="type"),
)

# Called by the triggers whose changes are events, which must have locked the entry: the events of an order are
# numbered. Nobody else may call it.
#
# `xid` is that of this transaction, or that of the order's last event if it is greater: a transaction may get its
# number before it has to wait for another one to release the entry. `position` is the time in microseconds, and never
# falls within an order. Neither needs a sequence, which could be behind its table after a restore. The id tells the
# place, also after the event was deleted: 11 digits of `xid` and 13 of `position`.
ADD_EVENT = """
CREATE FUNCTION add_event(ledger order_ledger, type text, refund_id uuid) RETURNS void LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  last record;
  moment timestamptz := clock_timestamp();
  xid xid8;
  place bigint;
BEGIN
  SELECT e.sequence, e.xid, e.position INTO last FROM public.events AS e
    WHERE e.order_ledger_id = ledger.id ORDER BY e.sequence DESC LIMIT 1;
  xid := GREATEST(pg_current_xact_id(), last.xid);
  place := GREATEST((extract(epoch FROM moment) * 1000000)::bigint, last.position + 1);
  INSERT INTO public.events (id, xid, position, client, order_ledger_id, sequence, type, at, status, order_id,
      refunded_cents, failure_code, failure_message, refund_id)
    VALUES ('evt_' || lpad(to_hex(xid::text::bigint), 11, '0') || lpad(to_hex(place), 13, '0'), xid, place,
      ledger.client, ledger.id, COALESCE(last.sequence, 0) + 1, type, moment, ledger.status, ledger.order_id,
      ledger.refunded_cents, ledger.failure_code, ledger.failure_message, refund_id);
END $$;

REVOKE EXECUTE ON FUNCTION add_event(order_ledger, text, uuid) FROM PUBLIC;
"""
