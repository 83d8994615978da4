"""The orchestrator's SQL for what the payment gateway changes by itself."""

from __future__ import annotations

# Note that a refund failed after it had succeeded. A trigger takes it off the order's sums. Everybody locks orders
# before their refunds. No row: it has not succeeded, or is noted.
FAIL_LATER = """
WITH locked AS (
  SELECT l.id FROM order_ledger AS l WHERE l.id = (SELECT order_ledger_id FROM refunds WHERE id = %(id)s)
  FOR NO KEY UPDATE
)
UPDATE refunds SET status = 'FAILED', status_detail = %(code)s, failure_code = %(code)s, failure_message = %(message)s,
  needs_attention_at = now(), updated_at = now(),
  attention_reason = concat_ws('; ', attention_reason, %(message)s::text)
FROM (SELECT count(*) FROM locked) AS orders
WHERE id = %(id)s AND status = 'SUCCEEDED'
RETURNING id
"""
# Where the refund stands, or the order that was undone by it.
STATUS = """
SELECT status FROM refunds WHERE id = %(id)s UNION ALL SELECT status FROM order_ledger WHERE id = %(id)s
"""

# Let the sagas whose refund the gateway has decided ask now. Those that are asking have no need.
ASK_NOW = """
WITH orders AS (
  UPDATE order_ledger SET due_at = now(), next_retry_at = now()
  WHERE id = ANY (%(ids)s::uuid[]) AND status = 'COMPENSATING' AND due_at > now() AND claimed_by IS NULL RETURNING id
), refunded AS (
  UPDATE refunds SET due_at = now(), next_retry_at = now()
  WHERE id = ANY (%(ids)s::uuid[]) AND due_at > now() AND claimed_by IS NULL RETURNING id
)
SELECT id FROM orders UNION ALL SELECT id FROM refunded
"""
# An order that was undone by a refund has kept the customer's money. Nothing can undo it again: a person must.
MARK_UNDONE = """
UPDATE order_ledger SET needs_attention_at = now(),
  attention_reason = concat_ws('; ', attention_reason, %(message)s::text)
WHERE id = %(id)s AND status = 'FAILED' AND COALESCE(attention_reason, '') NOT LIKE '%%' || %(message)s::text
RETURNING id
"""

# Mark an order whose hold ends before it is captured, unless it is marked.
MARK_ENDING = """
UPDATE order_ledger SET needs_attention_at = now(), attention_reason = %(reason)s
WHERE payment_authorization_id = %(id)s AND due_at IS NOT NULL AND needs_attention_at IS NULL
  AND claimed_by IS NULL AND status IN ('AUTHORIZED', 'ORDER_CREATED', 'INVENTORY_RESERVED') RETURNING id
"""
