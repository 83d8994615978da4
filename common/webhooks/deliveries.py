"""The queue of an endpoint: which of its deliveries may be attempted, and when.

All that changes the queue of an endpoint first locks the endpoint's row, so each change sees all earlier ones. The
lock is held for one short transaction, never during a call.
"""

from __future__ import annotations

STATUSES = ("pending", "succeeded", "failed")
MAX_RESPONSE_CHARACTERS = 1024
# An event that cannot be delivered lets the next one of its order pass after this time.
BLOCKS_FOR = "interval '1 hour'"
# Just before, it has one more attempt: a receiver that is back by then gets the events in order.
LAST_ATTEMPT_AFTER = f"({BLOCKS_FOR} - interval '1 second')"

# When a delivery that has not been attempted is due: now, or once no earlier event of its order blocks it. An earlier
# event blocks until it has ended, or until an hour after its first attempt.
DUE_AT = f"""(
  SELECT GREATEST(now(), max(COALESCE(earlier.first_attempt_at + {BLOCKS_FOR}, 'infinity')))
  FROM webhook_deliveries AS earlier
  WHERE earlier.endpoint_id = waiting.endpoint_id AND earlier.order_ledger_id = waiting.order_ledger_id
    AND earlier.sequence < waiting.sequence AND earlier.status = 'pending')"""
# Of the events that block another one, and would not be attempted again while they do.
LAST_ATTEMPT = f"""
UPDATE webhook_deliveries AS blocking SET due_at = first_attempt_at + {LAST_ATTEMPT_AFTER}
WHERE endpoint_id = %(endpoint_id)s AND order_ledger_id = ANY (%(order_ledger_ids)s::uuid[]) AND status = 'pending'
  AND claimed_by IS NULL AND first_attempt_at + {LAST_ATTEMPT_AFTER} > now()
  AND due_at > first_attempt_at + {BLOCKS_FOR} AND EXISTS (
    SELECT FROM webhook_deliveries AS later
    WHERE later.endpoint_id = blocking.endpoint_id AND later.order_ledger_id = blocking.order_ledger_id
      AND later.sequence > blocking.sequence AND later.status = 'pending')
"""
SCHEDULE = f"""
WITH last_attempt AS ({LAST_ATTEMPT})
UPDATE webhook_deliveries AS waiting SET due_at = {DUE_AT}
WHERE endpoint_id = %(endpoint_id)s AND order_ledger_id = ANY (%(order_ledger_ids)s::uuid[]) AND status = 'pending'
  AND first_attempt_at IS NULL
"""
