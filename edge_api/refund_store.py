"""The SQL of refunds in the Edge API."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from common.database.database import Database, Row, Transaction
from common.process import logs
from common.tracing import tracer
from domain.ids import new_refund_id

# A refund as clients see it. `r` is the refund.
_COLUMNS = """
r.id AS refund_id, r.order_ledger_id,
  CASE WHEN r.status IN ('SUCCEEDED', 'FAILED') THEN r.status ELSE 'PENDING' END AS status, r.amount_cents,
  (SELECT COALESCE(json_agg(json_build_object('product_id', x.product_id, 'quantity', x.quantity)
      ORDER BY i.position), '[]')
    FROM refund_items x JOIN order_ledger_items i USING (product_id)
    WHERE x.refund_id = r.id AND i.order_ledger_id = r.order_ledger_id) AS items,
  r.restock, r.reason, r.note,
  CASE WHEN r.failure_code IS NOT NULL
    THEN json_build_object('code', r.failure_code, 'message', r.failure_message) END AS failure,
  r.created_at, r.updated_at
"""

# Another client's order is not found. The lock makes the next refund of the order wait for this one.
LOCK_ORDER = """
SELECT id, status, total_amount_cents, refund_reserved_cents FROM order_ledger
WHERE id = %(id)s AND client = %(client)s FOR UPDATE
"""
FIND_ORDER = """
SELECT id, status, total_amount_cents, refund_reserved_cents FROM order_ledger
WHERE id = %(id)s AND client = %(client)s
"""
LINES = """
SELECT product_id, quantity, unit_price_cents, refunded_quantity FROM order_ledger_items
WHERE order_ledger_id = %(id)s ORDER BY position
"""

# Triggers take the refund's share of the order's amount and pieces. The order's constraints bound all of them.
INSERT_REFUND = """
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, note, request_id,
  trace_parent)
VALUES (%(id)s, %(order_ledger_id)s, %(key)s, %(amount_cents)s, %(restock)s, %(reason)s, %(note)s, %(request_id)s,
  %(trace_parent)s)
"""
INSERT_ITEMS = """
INSERT INTO refund_items (refund_id, product_id, quantity)
SELECT %(id)s, product_id, quantity
FROM unnest(%(product_ids)s::uuid[], %(quantities)s::int[]) AS item (product_id, quantity)
"""

GET_REFUND = f"""
SELECT {_COLUMNS} FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id
WHERE r.id = %(id)s AND l.client = %(client)s
"""
REFUNDS_OF_ORDER = f"SELECT {_COLUMNS} FROM refunds r WHERE r.order_ledger_id = %(id)s ORDER BY r.created_at, r.id"
INSERTED = f"SELECT {_COLUMNS} FROM refunds r WHERE r.id = %(id)s"

# Which of these refunds have ended.
TERMINAL = "SELECT id FROM refunds WHERE id = ANY(%(ids)s::uuid[]) AND due_at IS NULL"


def lock_order(tx: Transaction, client: str, order_ledger_id: str) -> Row | None:
    """The order, locked until the end of the transaction, with its `lines`. None: the client has no such order."""
    return _with_lines(tx, tx.one(LOCK_ORDER, client=client, id=order_ledger_id))


def find_order(tx: Transaction, client: str, order_ledger_id: str) -> Row | None:
    """Like `lock_order`, without the lock."""
    return _with_lines(tx, tx.one(FIND_ORDER, client=client, id=order_ledger_id))


def _with_lines(tx: Transaction, order: Row | None) -> Row | None:
    # A statement of its own, after the lock: it sees what the refund before this one has committed.
    return order and {**order, "lines": tx.all(LINES, id=order["id"])}


def insert(tx: Transaction, key: str, refund: dict[str, Any]) -> Row:
    """Write the refund, which takes its share of the order. :returns: the refund as clients see it"""
    id_ = new_refund_id()
    items = refund["items"]
    columns = {name: refund[name] for name in ("order_ledger_id", "amount_cents", "restock", "reason", "note")}
    trace = {"request_id": logs.request_id.get(), "trace_parent": tracer.trace_parent()}
    tx.execute(INSERT_REFUND, id=id_, key=key, **trace, **columns)
    if items:
        tx.execute(
            INSERT_ITEMS,
            id=id_,
            product_ids=[item["product_id"] for item in items],
            quantities=[item["quantity"] for item in items],
        )
    (row,) = tx.all(INSERTED, id=id_)
    return row


def get(database: Database, client: str, refund_id: str) -> Row | None:
    return database.one(GET_REFUND, client=client, id=refund_id)


def of_order(database: Database, order_ledger_id: str) -> list[Row]:
    """An order's refunds, the oldest first."""
    return database.all(REFUNDS_OF_ORDER, id=order_ledger_id)


def terminal(database: Database, refund_ids: Collection[str]) -> list[str]:
    """Return the refunds that are in a terminal state."""
    return [row["id"] for row in database.all(TERMINAL, ids=list(refund_ids))]
