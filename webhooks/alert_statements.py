"""The SQL of alerts to operators. Only the database's clock decides what is due.

A row of `operator_alerts` is a condition. While its message is not delivered, it has the message's id, and no other
message is made for it. Every write after a claim names the claim number, and changes no row if the message has been
claimed again.
"""

from __future__ import annotations

from common.attention.conditions import overdue

MANY = 10_000  # orders that are counted; a longer queue takes as long to read

# Orders and refunds that need attention.
ATTENTION = "SELECT '' AS subject, count(*) AS count, min(needs_attention_at) AS since FROM audit_attention"
# Orders and refunds that have been due for five minutes, and that no process has claimed.
STUCK = f"""
SELECT '' AS subject, count(*) AS count, min(due_at) AS since
FROM ({overdue("now() - interval '5 minutes'", MANY)}) AS stuck
"""
# Endpoints that this program has disabled, not their owners.
ENDPOINTS = """
SELECT '' AS subject, count(*) AS count, min(disabled_at) AS since FROM webhook_endpoints
WHERE status = 'disabled' AND deleted_at IS NULL AND disabled_reason = ANY (%(reasons)s::text[])
"""
# Whether a table of another release is there.
IS_THERE = "SELECT to_regclass(%(name)s) IS NOT NULL AS is_there"

_NEW_MESSAGE = """message_id = 'alert_' || replace(gen_random_uuid()::text, '-', ''),
  told_at = now(), due_at = now(), attempts = 0"""
_FOUND = """unnest(%(kinds)s::text[], %(subjects)s::text[], %(counts)s::integer[], %(sinces)s::timestamptz[])
  AS found (kind, subject, count, since)"""
# Conditions that are new, or that have come back. The end of the former one is told first.
BEGIN_ALERTS = f"""
INSERT INTO operator_alerts AS alert (kind, subject, count, told_count, began_at, event, message_id, told_at, due_at)
SELECT kind, subject, count, count, since, 'began',
  'alert_' || replace(gen_random_uuid()::text, '-', ''), now(), now()
FROM {_FOUND}
ON CONFLICT (kind, subject) DO UPDATE SET count = EXCLUDED.count, told_count = EXCLUDED.count,
  began_at = EXCLUDED.began_at, ended_at = NULL, event = 'began', {_NEW_MESSAGE}
WHERE alert.ended_at IS NOT NULL AND alert.message_id IS NULL
"""
# How large they are now. One that has become smaller has grown when it is larger than that.
SEE = f"""
UPDATE operator_alerts AS alert SET count = found.count, seen_at = now(),
  told_count = CASE WHEN message_id IS NULL THEN LEAST(told_count, found.count) ELSE told_count END
FROM {_FOUND} WHERE alert.kind = found.kind AND alert.subject = found.subject AND ended_at IS NULL
"""
GROW = f"""
UPDATE operator_alerts SET told_count = count, event = 'grew', {_NEW_MESSAGE}
WHERE ended_at IS NULL AND message_id IS NULL AND seen_at = now() AND count > told_count
  AND told_at <= now() - %(after_s)s * interval '1 second'
"""
# Conditions of the kinds that were looked for, and that have not been found for some time.
END_ALERTS = f"""
UPDATE operator_alerts SET ended_at = now(), event = 'ended', {_NEW_MESSAGE}
WHERE ended_at IS NULL AND message_id IS NULL AND kind = ANY (%(kinds)s::text[])
  AND seen_at <= now() - %(after_s)s * interval '1 second'
"""

# Until the lease ends, the message is left to its claimant. If that one dies, the same message is sent again.
CLAIM = """
WITH due AS (
  SELECT kind, subject FROM operator_alerts WHERE due_at <= now()
  ORDER BY told_at, kind, subject LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE operator_alerts AS alert SET claim_number = claim_number + 1, attempts = attempts + 1,
  due_at = now() + %(lease_s)s * interval '1 second'
FROM due WHERE alert.kind = due.kind AND alert.subject = due.subject
RETURNING alert.kind, alert.subject, event, told_count, began_at, told_at, message_id, attempts, claim_number,
  extract(epoch FROM now())::bigint AS timestamp
"""
TOLD = """
UPDATE operator_alerts SET event = NULL, message_id = NULL, due_at = NULL, attempts = 0
WHERE kind = %(kind)s AND subject = %(subject)s AND claim_number = %(claim_number)s AND message_id = %(message_id)s
"""
RETRY = """
UPDATE operator_alerts SET due_at = now() + %(pause_s)s * interval '1 second'
WHERE kind = %(kind)s AND subject = %(subject)s AND claim_number = %(claim_number)s AND message_id = %(message_id)s
"""
