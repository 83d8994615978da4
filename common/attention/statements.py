"""The SQL that changes or explains what needs attention."""

from __future__ import annotations

# Make an order due now. Not during a lease, because its worker is about to write. Not while a request waits for its
# client, because the orchestrator would close it permanently. An entry that needs attention is past that.
RETRY = """
WITH due AS (
  UPDATE order_ledger AS entry SET due_at = LEAST(due_at, now()),
    next_retry_at = CASE WHEN next_retry_at IS NOT NULL THEN LEAST(next_retry_at, now()) END
  WHERE id = %(id)s AND due_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= now())
    AND (status <> 'AWAITING_AUTHORIZATION' OR failure_code IS NOT NULL OR needs_attention_at IS NOT NULL OR EXISTS (
      SELECT FROM set_aside_entries AS aside WHERE aside.order_ledger_id = entry.id AND aside.retry_at IS NOT NULL))
  RETURNING id, status
), set_aside AS (
  UPDATE set_aside_entries SET retry_at = now() FROM due WHERE order_ledger_id = due.id AND retry_at IS NOT NULL
)
SELECT status FROM due
"""
# The same for a refund.
RETRY_REFUND = """
WITH due AS (
  UPDATE refunds SET due_at = LEAST(due_at, now()),
    next_retry_at = CASE WHEN next_retry_at IS NOT NULL THEN LEAST(next_retry_at, now()) END
  WHERE id = %(id)s AND due_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= now())
  RETURNING id, status
), set_aside AS (
  UPDATE set_aside_refunds SET retry_at = now() FROM due WHERE refund_id = due.id AND retry_at IS NOT NULL
)
SELECT status FROM due
"""
WHY_NOT = """
SELECT status, claimed_by, due_at, claimed_until, claimed_until > now() AS is_claimed, needs_attention_at
FROM order_ledger WHERE id = %(id)s
UNION ALL
SELECT status, claimed_by, due_at, claimed_until, claimed_until > now(), needs_attention_at
FROM refunds WHERE id = %(id)s
"""
# What has ended may still need attention: pieces that were refused, or a refund that the gateway has failed later.
_DISMISS = """
UPDATE {table} SET needs_attention_at = NULL, attention_reason = NULL
WHERE id = %(id)s AND due_at IS NULL AND needs_attention_at IS NOT NULL RETURNING status
"""
DISMISS_ORDER, DISMISS_REFUND = _DISMISS.format(table="order_ledger"), _DISMISS.format(table="refunds")
DISMISS = {"refund_id": DISMISS_REFUND, "order_ledger_id": DISMISS_ORDER}
