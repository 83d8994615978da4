"""The SQL of the process `webhooks`. Only the database's clock decides what is due.

Every write to a claimed delivery names the claim number that the writer holds, and changes no row if the delivery has
been claimed again. See common/webhooks/deliveries.py for the order of an endpoint's deliveries.
"""

from __future__ import annotations

from common.events import body
from common.webhooks import deliveries

SCHEDULE = deliveries.SCHEDULE
# All that changes the queue of an endpoint begins with this.
LOCK = """
SELECT id, client, event_types, url, status = 'enabled' AND deleted_at IS NULL AS is_open,
  failing_since IS NOT NULL AS is_failing, last_success_at IS NULL AS is_new,
  (last_success_at < now() - interval '1 minute') IS NOT FALSE AS is_success_old,
  extract(epoch FROM now())::bigint AS timestamp, ARRAY(
    SELECT secret FROM webhook_secrets
    WHERE endpoint_id = endpoint.id AND (valid_until IS NULL OR valid_until > now()) ORDER BY number DESC) AS secrets
FROM webhook_endpoints AS endpoint WHERE id = %(endpoint_id)s FOR UPDATE
"""
LOCK_UNLESS_BUSY = f"{LOCK} SKIP LOCKED"

# The feed (docs/decisions/0053) ends before the oldest transaction that is still running: it may still commit an event
# with a lower number.
_COMMITTED = "events.xid < pg_snapshot_xmin(pg_current_snapshot())"
_NEXT = f"""
  unnest(%(types)s::text[]) AS wanted (type) CROSS JOIN LATERAL (
    SELECT id, xid, position, type, order_ledger_id, sequence FROM events
    WHERE client = endpoint.client AND events.type = wanted.type COLLATE "C" AND {_COMMITTED}
      AND (xid, position) > (endpoint.cursor_xid, endpoint.cursor_position)
    ORDER BY xid, position LIMIT %(limit)s) AS event"""

# Endpoints with events for which no deliveries have been made.
BEHIND = f"""
SELECT id FROM webhook_endpoints AS endpoint
WHERE status = 'enabled' AND deleted_at IS NULL AND id <> ALL (%(set_aside)s::text[]) AND EXISTS (SELECT FROM {_NEXT})
"""
# The next events of each type by the index on it, and of these the first ones. All types are read, so that the cursor
# moves past those that the endpoint does not want.
NEXT_EVENTS = f"""
SELECT event.id, event.xid::text AS xid, event.position, event.type, event.order_ledger_id, event.sequence
FROM webhook_endpoints AS endpoint, {_NEXT}
WHERE endpoint.id = %(endpoint_id)s ORDER BY event.xid, event.position LIMIT %(limit)s
"""
# Of new events of one order, the later ones wait for the first. Of two deliveries, that of the later event is newer.
# `is_blocked`: an earlier event has failed so far.
ADD = f"""
INSERT INTO webhook_deliveries (endpoint_id, event_id, message_id, type, order_ledger_id, sequence, created_at, due_at)
SELECT endpoint_id, event_id, event_id, type, order_ledger_id, sequence, now() + number * interval '1 microsecond',
  CASE WHEN row_number() OVER (PARTITION BY order_ledger_id ORDER BY sequence) > 1 THEN 'infinity'
    ELSE {deliveries.DUE_AT} END
FROM (SELECT %(endpoint_id)s::text AS endpoint_id, new.*
  FROM unnest(%(event_ids)s::text[], %(types)s::text[], %(order_ledger_ids)s::uuid[], %(sequences)s::integer[])
    WITH ORDINALITY AS new (event_id, type, order_ledger_id, sequence, number)) AS waiting
ON CONFLICT (event_id, endpoint_id) DO NOTHING RETURNING due_at > now() AND due_at < 'infinity' AS is_blocked
"""
MOVE_CURSOR = """
UPDATE webhook_endpoints SET cursor_xid = %(xid)s::text::xid8, cursor_position = %(position)s
WHERE id = %(endpoint_id)s
"""

# Endpoints with due deliveries, the longest overdue first.
DUE = """
SELECT id FROM webhook_endpoints AS endpoint, LATERAL (
  SELECT due_at FROM webhook_deliveries
  WHERE endpoint_id = endpoint.id AND status = 'pending' ORDER BY due_at LIMIT 1) AS first
WHERE status = 'enabled' AND deleted_at IS NULL AND first.due_at <= now() ORDER BY first.due_at
"""
_DUE = "endpoint_id = %(endpoint_id)s AND status = 'pending' AND due_at <= now()"
_NOT_SET_ASIDE = "id <> ALL (%(set_aside)s::uuid[])"
# Within one order, the earliest event only, and none while another one is in flight. An endpoint has at most
# `in_flight` deliveries under way, in all processes together. An expired lease is taken over. A row that another
# session has locked is left out.
_CLAIM = f"""
WITH due AS (
  SELECT id, order_ledger_id, sequence, due_at FROM webhook_deliveries AS delivery
  WHERE {_DUE} AND {{which}} AND NOT EXISTS (
    SELECT FROM webhook_deliveries AS other WHERE other.endpoint_id = delivery.endpoint_id
      AND other.order_ledger_id = delivery.order_ledger_id AND other.status = 'pending'
      AND other.claimed_until > now())
  ORDER BY due_at LIMIT %(limit)s
), first_of_order AS (
  SELECT DISTINCT ON (COALESCE(order_ledger_id, id)) id, due_at
  FROM due ORDER BY COALESCE(order_ledger_id, id), sequence
), chosen AS (
  SELECT id FROM first_of_order ORDER BY due_at LIMIT GREATEST(0, %(in_flight)s::bigint - (
    SELECT count(*) FROM webhook_deliveries
    WHERE endpoint_id = %(endpoint_id)s AND claimed_until IS NOT NULL AND claimed_until > now()))
), free AS (
  SELECT id FROM webhook_deliveries WHERE id IN (SELECT id FROM chosen) FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries AS delivery SET claimed_by = %(claimant)s, claim_number = claim_number + 1,
  claimed_until = now() + %(lease_s)s * interval '1 second', due_at = now() + %(lease_s)s * interval '1 second',
  first_attempt_at = COALESCE(first_attempt_at, now())
FROM free WHERE delivery.id = free.id
RETURNING delivery.id, endpoint_id, event_id, message_id, type, order_ledger_id, attempts, claim_number, created_at
"""
CLAIM = _CLAIM.format(which=_NOT_SET_ASIDE)
# The same for one delivery, when several of them cannot be claimed together.
CLAIM_ONE = _CLAIM.format(which="id = %(id)s")
DUE_DELIVERIES = f"""
SELECT id FROM webhook_deliveries WHERE {_DUE} AND {_NOT_SET_ASIDE} ORDER BY due_at LIMIT %(limit)s
"""
EVENTS = f"{body.READ} WHERE e.id = ANY (%(ids)s::text[])"

# Save the outcomes of attempts. `retry_in_s` is null after a success, and after the last attempt.
SAVE = """
UPDATE webhook_deliveries AS delivery SET status = done.status, attempts = attempts + 1, last_attempt_at = now(),
  due_at = CASE WHEN done.status = 'pending' THEN now() + retry_in_s * interval '1 second' END,
  ended_at = CASE WHEN done.status <> 'pending' THEN now() END,
  claimed_by = NULL, claimed_until = NULL, response_status = done.response_status,
  response_body = done.response_body, error = done.error
FROM unnest(%(ids)s::uuid[], %(claim_numbers)s::integer[], %(statuses)s::text[], %(retries_in_s)s::float[],
  %(response_statuses)s::integer[], %(response_bodies)s::text[], %(errors)s::text[])
  AS done (id, claim_number, status, retry_in_s, response_status, response_body, error)
WHERE delivery.id = done.id AND delivery.claim_number = done.claim_number AND claimed_by IS NOT NULL
RETURNING delivery.id
"""
SUCCEEDED = """
UPDATE webhook_endpoints SET last_success_at = now(), failing_since = NULL, warnings = 0 WHERE id = %(endpoint_id)s
"""
FAILED = """
UPDATE webhook_endpoints SET failing_since = now() WHERE id = %(endpoint_id)s
"""
DISABLE = """
UPDATE webhook_endpoints SET status = 'disabled', disabled_at = now(), disabled_reason = %(reason)s, updated_at = now()
WHERE id = %(endpoint_id)s AND status = 'enabled' AND deleted_at IS NULL RETURNING id, client
"""
# The claims of this process that it knows nothing of: the connection was lost while it claimed. One that another
# session has locked is left to its lease.
RELEASE_STRANDED = """
UPDATE webhook_deliveries SET due_at = now() + interval '1 second', claimed_by = NULL, claimed_until = NULL
WHERE id IN (SELECT id FROM webhook_deliveries WHERE claimed_by = %(claimant)s AND claimed_until IS NOT NULL
  AND id <> ALL (%(in_flight)s::uuid[]) FOR UPDATE SKIP LOCKED)
"""

# Endpoints that have failed for longer than the next of these times, without one success.
WARN = """
UPDATE webhook_endpoints AS endpoint SET warnings = late.number
FROM (
  SELECT id, (SELECT count(*) FROM unnest(%(after_s)s::integer[]) AS after_s
    WHERE failing_since <= now() - after_s * interval '1 second')::integer AS number
  FROM webhook_endpoints WHERE status = 'enabled' AND deleted_at IS NULL AND failing_since IS NOT NULL
  FOR UPDATE SKIP LOCKED) AS late
WHERE endpoint.id = late.id AND endpoint.warnings < late.number
RETURNING endpoint.id, client, failing_since
"""
FAILED_FOR_TOO_LONG = """
SELECT id FROM webhook_endpoints WHERE status = 'enabled' AND deleted_at IS NULL
  AND failing_since <= now() - %(disable_after_s)s * interval '1 second'
"""
