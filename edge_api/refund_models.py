"""The tables of refunds. The Edge API writes the request, the orchestrator the rest, and a trigger the order's sums."""

from sqlalchemy import (
    ARRAY,
    DDL,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from common.schema.tables import (
    cents_column,
    id_column,
    identifier,
    is_one_of,
    metadata,
    time_column,
    trace_parent_check,
    trace_parent_column,
)
from domain.money import MAX_CENTS
from domain.refunds import REASONS, RefundStatus

refunds = Table(
    "refunds",
    metadata,
    id_column(),
    # The request
    Column("order_ledger_id", ForeignKey("order_ledger.id"), nullable=False),
    Column("idempotency_key", identifier(255), nullable=False),
    cents_column("amount_cents"),
    Column("restock", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("note", Text),
    Column("request_id", Text, nullable=False),
    trace_parent_column(),
    # The state of the saga; `restocked` has the products whose pieces are back in stock, `not_restocked` those that the
    # inventory service refused
    Column("status", Text, nullable=False, server_default=text("'REQUESTED'")),
    Column("status_detail", Text),
    Column("restocked", ARRAY(UUID(as_uuid=False)), nullable=False, server_default=text("'{}'::uuid[]")),
    Column("not_restocked", ARRAY(UUID(as_uuid=False)), nullable=False, server_default=text("'{}'::uuid[]")),
    Column("failure_code", Text),
    Column("failure_message", Text),
    # The lease, and when the refund is to be claimed, as in order_ledger
    Column("due_at", DateTime(timezone=True), server_default=text("now()")),
    Column("claimed_by", Text),
    time_column("claimed_until", nullable=True),
    Column("claim_number", Integer, nullable=False, server_default=text("0")),
    Column("unproductive_claims", Integer, nullable=False, server_default=text("0")),
    Column("retry_count", Integer, nullable=False, server_default=text("0")),
    time_column("next_retry_at", nullable=True),
    time_column("needs_attention_at", nullable=True),
    Column("attention_reason", Text),
    time_column("created_at"),
    time_column("updated_at"),  # of the last progress, so that the age of a standstill is known
    CheckConstraint(is_one_of("status", tuple(RefundStatus)), name="status"),
    CheckConstraint(f"amount_cents BETWEEN 1 AND {MAX_CENTS}", name="amount_cents"),
    CheckConstraint(is_one_of("reason", REASONS), name="reason"),
    CheckConstraint("(status IN ('SUCCEEDED', 'FAILED')) = (due_at IS NULL)", name="due_until_terminal"),
    trace_parent_check(),
    CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
    CheckConstraint("(needs_attention_at IS NULL) = (attention_reason IS NULL)", name="attention"),
    CheckConstraint(
        "(status = 'FAILED') = (failure_code IS NOT NULL) AND (failure_code IS NULL) = (failure_message IS NULL)",
        name="failure",
    ),
    CheckConstraint(
        "restock OR restocked = '{}' AND status <> 'RESTOCKED'",
        name="restock",
    ),
    # A refund that the gateway has failed after it had succeeded keeps its pieces in stock.
    CheckConstraint(
        "restocked = '{}' OR status <> 'REQUESTED' AND (status <> 'FAILED' OR failure_code = 'refund_failed_later')",
        name="money_comes_first",
    ),
    CheckConstraint(
        "not_restocked = '{}' OR restock AND status <> 'REQUESTED'"
        " AND (status <> 'FAILED' OR failure_code = 'refund_failed_later') AND NOT not_restocked && restocked",
        name="not_restocked",
    ),
    Index(None, "order_ledger_id", "created_at"),
    Index("ix_refunds_request_id", text('request_id COLLATE "C"')),
    Index(None, "idempotency_key"),
    Index("ix_refunds_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index(
        "ix_refunds_needs_attention_at",
        "needs_attention_at",
        postgresql_where=text("needs_attention_at IS NOT NULL"),
    ),
)

refund_items = Table(
    "refund_items",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    id_column("product_id", primary_key=True),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity BETWEEN 1 AND 100", name="quantity"),
)

# Refunds that the database refuses to write, as set_aside_entries for orders.
set_aside_refunds = Table(
    "set_aside_refunds",
    metadata,
    id_column("refund_id", primary_key=True),
    Column("reason", Text, nullable=False),
    time_column("since"),
    time_column("retry_at", nullable=True),  # null: it has been claimed since
)

# The database itself takes a refund's share of the order, gives it back, and adds to the order's sums, in the
# transaction of the change that it follows from. The share is taken from the order's row, so that its constraints bound
# all refunds together, whatever runs at once. A refund that the state machine does not allow is refused. One that the
# gateway has failed after it had succeeded gives its money back, but no piece that is or may be in stock again, because
# that could be put back twice. The functions have the owner's rights: no role of a process may write these columns. A
# note on an order whose personal data has been erased (ops/erasure.py) is noted for erasure, too.
REFUND_GUARD = """
CREATE FUNCTION refund_guard() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  entry public.order_ledger;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'REQUESTED' THEN
      RAISE EXCEPTION 'a refund begins as REQUESTED, not as %', NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_legal_move';
    END IF;
    UPDATE public.order_ledger SET refund_reserved_cents = refund_reserved_cents + NEW.amount_cents
      WHERE id = NEW.order_ledger_id AND status = 'COMPLETED' RETURNING * INTO entry;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'order_ledger % is not COMPLETED, so nothing can be refunded', NEW.order_ledger_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_of_completed';
    END IF;
    IF NEW.note IS NOT NULL AND entry.email = 'erased@erased.invalid' THEN
      INSERT INTO public.pending_erasures (order_ledger_id) VALUES (entry.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
  END IF;
  IF NOT (CASE OLD.status
      WHEN 'REQUESTED' THEN NEW.status IN ('PAYMENT_REFUNDED', 'FAILED')
      WHEN 'PAYMENT_REFUNDED' THEN NEW.status = 'RESTOCKED' AND NEW.restock
        OR NEW.status = 'SUCCEEDED' AND NOT NEW.restock OR NEW.status = 'PAYMENT_REFUNDED'
      WHEN 'RESTOCKED' THEN NEW.status = 'SUCCEEDED'
      WHEN 'SUCCEEDED' THEN NEW.status = 'FAILED' AND NEW.failure_code = 'refund_failed_later'
        AND (NEW.restocked, NEW.not_restocked) = (OLD.restocked, OLD.not_restocked)
      ELSE false END)
      OR NEW.claim_number < OLD.claim_number OR NOT NEW.restocked @> OLD.restocked
      OR NOT NEW.not_restocked @> OLD.not_restocked
      OR (NEW.order_ledger_id, NEW.amount_cents, NEW.restock) <> (OLD.order_ledger_id, OLD.amount_cents, OLD.restock)
      THEN
    RAISE EXCEPTION 'refund %: % (claim %) may not become % (claim %)',
      OLD.id, OLD.status, OLD.claim_number, NEW.status, NEW.claim_number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_legal_move';
  END IF;
  IF NEW.status = 'SUCCEEDED' THEN
    UPDATE public.order_ledger SET refunded_cents = refunded_cents + NEW.amount_cents, updated_at = now()
      WHERE id = NEW.order_ledger_id RETURNING * INTO entry;
    PERFORM public.add_event(entry, 'refund.succeeded', NEW.id);
  ELSIF NEW.status = 'FAILED' THEN
    UPDATE public.order_ledger SET refund_reserved_cents = refund_reserved_cents - NEW.amount_cents,
      refunded_cents = refunded_cents - CASE OLD.status WHEN 'SUCCEEDED' THEN NEW.amount_cents ELSE 0 END,
      updated_at = CASE OLD.status WHEN 'SUCCEEDED' THEN now() ELSE updated_at END
      WHERE id = NEW.order_ledger_id RETURNING * INTO entry;
    UPDATE public.order_ledger_items AS line SET refunded_quantity = refunded_quantity - item.quantity
      FROM public.refund_items AS item WHERE item.refund_id = NEW.id AND line.order_ledger_id = NEW.order_ledger_id
      AND line.product_id = item.product_id AND item.product_id <> ALL (NEW.restocked || NEW.not_restocked);
    PERFORM public.add_event(entry, 'refund.failed', NEW.id);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION refund_item_guard() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.order_ledger_items AS line SET refunded_quantity = refunded_quantity + NEW.quantity
    FROM public.refunds AS refund WHERE refund.id = NEW.refund_id AND refund.status = 'REQUESTED'
    AND line.order_ledger_id = refund.order_ledger_id AND line.product_id = NEW.product_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'product % cannot be added to refund %', NEW.product_id, NEW.refund_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'refund_items_of_order';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER refunds_begin AFTER INSERT ON refunds FOR EACH ROW EXECUTE FUNCTION refund_guard();

CREATE TRIGGER refunds_move AFTER UPDATE ON refunds
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.restocked IS DISTINCT FROM NEW.restocked
    OR OLD.not_restocked IS DISTINCT FROM NEW.not_restocked
    OR OLD.claim_number > NEW.claim_number OR OLD.order_ledger_id <> NEW.order_ledger_id
    OR OLD.amount_cents <> NEW.amount_cents OR OLD.restock <> NEW.restock)
  EXECUTE FUNCTION refund_guard();

CREATE TRIGGER refund_items_begin AFTER INSERT ON refund_items FOR EACH ROW EXECUTE FUNCTION refund_item_guard();

REVOKE EXECUTE ON FUNCTION refund_guard(), refund_item_guard() FROM PUBLIC;
"""
event.listen(refund_items, "after_create", DDL(REFUND_GUARD.replace("%", "%%")))  # type: ignore[no-untyped-call]
