"""The SQL of the overview. It reads open entries only, by partial indexes, however many orders have ended."""

from __future__ import annotations

from console import attention_statements
from orchestrator.figures_statements import IS_HELD, OLDEST_DUE

# Open orders by state, and the money held for them by currency and age. A hold is as old as its order.
_ORDERS = f"""SELECT status, currency, age, count(*) AS orders, count(next_retry_at) AS retrying,
    count(*) FILTER (WHERE {IS_HELD}) AS held, COALESCE(sum(total_amount_cents) FILTER (WHERE {IS_HELD}), 0)::bigint
    AS held_cents
  FROM (SELECT status, currency, total_amount_cents, next_retry_at, compensating_from, undone,
    payment_authorization_id, CASE WHEN created_at > now() - interval '1 hour' THEN 'hour'
    WHEN created_at > now() - interval '1 day' THEN 'day' WHEN created_at > now() - interval '7 days' THEN 'week'
    ELSE 'older' END AS age FROM order_ledger WHERE due_at IS NOT NULL) AS entry
  GROUP BY status, currency, age"""
_REFUNDS = """SELECT status, count(*) AS refunds, count(next_retry_at) AS retrying
  FROM refunds WHERE due_at IS NOT NULL GROUP BY status"""

# All of the same moment.
SNAPSHOT = f"""
SELECT now() AS as_of,
  (SELECT COALESCE(json_agg(part), '[]') FROM ({_ORDERS}) AS part) AS orders,
  (SELECT COALESCE(json_agg(part), '[]') FROM ({_REFUNDS}) AS part) AS refunds,
  (SELECT timestamptz 'epoch' + due.at * interval '1 second' FROM ({OLDEST_DUE}) AS due) AS oldest_due_at,
  attention.open AS needs_attention, attention.dealt_with, attention.since AS needs_attention_since
FROM ({attention_statements.COUNT}) AS attention
"""
