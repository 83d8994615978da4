"""The judge's view of the database, all of it in one snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg2

Row = dict[str, Any]

# One row for each ledger entry, with the sums of its customer's payments and orders.
# (Every order of a run has its own customer.)
LEDGER = """
SELECT l.id::text, l.client_request_id AS key, l.status, l.failure_code, l.total_amount_cents, l.refunded_cents,
  l.cancel_requested_at IS NOT NULL AS is_cancelled,
  COALESCE(p.live, 0) AS live_authorizations, COALESCE(p.held, 0) AS held_cents, COALESCE(p.paid, 0) AS paid_cents,
  COALESCE(o.confirmed, 0) AS confirmed_orders, COALESCE(r.pieces, 0) AS reserved_pieces
FROM order_ledger l
LEFT JOIN (
  SELECT user_id, count(*) FILTER (WHERE status NOT IN ('DECLINED', 'VOIDED')) AS live,
    sum(amount_cents) FILTER (WHERE status = 'AUTHORIZED') AS held,
    sum(captured_amount_cents - refunded_amount_cents) AS paid
  FROM payment_authorizations GROUP BY user_id) p USING (user_id)
LEFT JOIN (
  SELECT user_id, count(*) FILTER (WHERE status = 'CONFIRMED') AS confirmed
  FROM orders GROUP BY user_id) o USING (user_id)
LEFT JOIN (
  SELECT order_id, sum(quantity) AS pieces FROM inventory_reservations WHERE released_at IS NULL
  GROUP BY order_id) r USING (order_id)
"""
# Payments and orders of customers without a ledger entry.
STRANGERS = """
SELECT 'payment ' || a.id FROM payment_authorizations a WHERE a.status NOT IN ('DECLINED', 'VOIDED')
  AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.user_id = a.user_id)
UNION ALL SELECT 'order ' || o.id FROM orders o WHERE o.user_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.user_id = o.user_id)
"""
# One row for each refund, with what the payments and inventory services did for it.
REFUNDS = """
SELECT r.id::text, r.idempotency_key AS key, r.order_ledger_id::text, r.amount_cents, r.restock, r.status,
  COALESCE((SELECT json_object_agg(product_id, quantity) FROM refund_items WHERE refund_id = r.id), '{}') AS items,
  COALESCE((SELECT sum(amount_cents) FROM payment_refunds WHERE idempotency_key = 'refund:' || r.id), 0)
    AS returned_cents,
  COALESCE((SELECT json_object_agg(product_id, quantity) FROM (
    SELECT product_id, sum(quantity) AS quantity FROM inventory_adjustments WHERE reference_id = r.id::text
    GROUP BY product_id) back), '{}') AS restocked
FROM refunds r
"""
# What we believe of the gateway's money.
PAYMENTS = """
SELECT id, CASE status WHEN 'AUTHORIZED' THEN amount_cents ELSE 0 END AS held,
  COALESCE(captured_amount_cents, 0) AS captured, refunded_amount_cents AS refunded
FROM payment_authorizations
"""
RETURNED = "SELECT id, amount_cents FROM payment_refunds"
EVENTS = """
SELECT id, type, order_ledger_id::text, sequence, status, refunded_cents, failure_code, refund_id::text,
  extract(epoch FROM at)::float AS at
FROM events
"""
UNDELIVERED = """
SELECT e.id, COALESCE(d.status, 'not there') AS status FROM webhook_endpoints w CROSS JOIN events e
LEFT JOIN webhook_deliveries d ON d.endpoint_id = w.id AND d.event_id = e.id WHERE d.status IS DISTINCT FROM 'succeeded'
"""
# What operators did, and what became of their jobs.
RECORD = "SELECT actor, action, details FROM operator_log"
JOBS = """
SELECT id::text, action, done, ended_at IS NOT NULL AS has_ended, ARRAY(
  SELECT order_ledger_id::text FROM bulk_job_items WHERE job_id = bulk_jobs.id AND result = 'done') AS orders
FROM bulk_jobs
"""


@dataclass(frozen=True)
class Books:
    entries: list[Row]
    strangers: list[str]
    refunds: list[Row]
    events: dict[str, Row]
    """By id."""
    undelivered: list[Row]
    payments: list[Row]
    returned: list[Row]
    """The refunds of the payments service."""
    record: list[Row]
    jobs: list[Row]

    @cached_property
    def refunds_by_key(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.refunds:
            found[row["key"]].append(row)
        return found


def read_books(url: str) -> Books:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return Books(
            entries=list(_rows(cursor, LEDGER)),
            strangers=[str(*row) for row in _all(cursor, STRANGERS)],
            refunds=list(_rows(cursor, REFUNDS)),
            events={row["id"]: row for row in _rows(cursor, EVENTS)},
            undelivered=list(_rows(cursor, UNDELIVERED)),
            payments=list(_rows(cursor, PAYMENTS)),
            returned=list(_rows(cursor, RETURNED)),
            record=list(_rows(cursor, RECORD)),
            jobs=list(_rows(cursor, JOBS)),
        )


def _rows(cursor: Any, sql: str) -> Iterable[Row]:
    rows = _all(cursor, sql)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _all(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql)
    return list(cursor.fetchall())
