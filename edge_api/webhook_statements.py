"""The SQL of webhook endpoints. Every statement names the client: another one's endpoint does not exist for it."""

from __future__ import annotations

from common.webhooks import deliveries

_ENDPOINT = """id, url, event_types, description, status, disabled_at, disabled_reason, last_success_at, failing_since,
  created_at, updated_at"""
_DELIVERY = """delivery.id, endpoint_id AS webhook_endpoint_id, message_id AS event_id, type AS event_type,
  order_ledger_id, sequence, status, attempts,
  CASE WHEN (claimed_until IS NULL OR claimed_until <= now())
    AND (SELECT status FROM webhook_endpoints AS endpoint WHERE endpoint.id = delivery.endpoint_id) = 'enabled'
    THEN NULLIF(due_at, 'infinity') END AS next_attempt_at,
  last_attempt_at, response_status, response_body, error, created_at, ended_at"""
_OWN = "client = %(client)s AND deleted_at IS NULL"

# A new endpoint gets the events of all transactions that have not ended yet.
ADD_ENDPOINT = f"""
INSERT INTO webhook_endpoints (id, client, url, event_types, description, cursor_xid)
SELECT %(id)s, %(client)s, %(url)s, %(event_types)s::text[], %(description)s, pg_snapshot_xmin(pg_current_snapshot())
WHERE (SELECT count(*) FROM webhook_endpoints WHERE {_OWN}) < %(max_endpoints)s
RETURNING {_ENDPOINT}
"""
ENDPOINTS = f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE {_OWN} ORDER BY created_at, id"
ENDPOINT = f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE id = %(id)s AND {_OWN}"
LOCK_ENDPOINT = f"{ENDPOINT} FOR UPDATE"
# Another URL is another receiver: it has not failed yet.
CHANGE_ENDPOINT = f"""
UPDATE webhook_endpoints SET url = %(url)s, event_types = %(event_types)s::text[], description = %(description)s,
  status = %(status)s, updated_at = now(),
  disabled_at = CASE WHEN %(status)s = 'disabled' THEN COALESCE(disabled_at, now()) END,
  disabled_reason = CASE WHEN %(status)s = 'disabled' THEN COALESCE(disabled_reason, %(disabled_by)s) END,
  failing_since = CASE WHEN %(status)s = status AND %(url)s = url THEN failing_since END,
  warnings = CASE WHEN %(status)s = status AND %(url)s = url THEN warnings ELSE 0 END
WHERE id = %(id)s RETURNING {_ENDPOINT}
"""
DELETE_ENDPOINT = "UPDATE webhook_endpoints SET deleted_at = now(), updated_at = now() WHERE id = %(id)s"

ADD_SECRET = "INSERT INTO webhook_secrets (endpoint_id, number, secret) VALUES (%(id)s, %(number)s, %(secret)s)"
DELETE_EXPIRED_SECRETS = "DELETE FROM webhook_secrets WHERE endpoint_id = %(id)s AND valid_until <= now()"
DELETE_SECRETS = "DELETE FROM webhook_secrets WHERE endpoint_id = %(id)s"
END_SECRET = """
UPDATE webhook_secrets SET valid_until = now() + interval '24 hours' WHERE endpoint_id = %(id)s AND valid_until IS NULL
"""
SECRETS = """
SELECT count(*) AS count, max(number) AS last, extract(epoch FROM min(valid_until) - now())::float AS first_ends_in_s
FROM webhook_secrets WHERE endpoint_id = %(id)s
"""

ADD_TEST = f"""
INSERT INTO webhook_deliveries AS delivery (endpoint_id, message_id, type, due_at)
VALUES (%(id)s, %(message_id)s, 'webhook.test', now()) RETURNING {_DELIVERY}
"""
DELIVERY = f"SELECT {_DELIVERY} FROM webhook_deliveries AS delivery WHERE id = %(delivery_id)s AND endpoint_id = %(id)s"
SCHEDULE = deliveries.SCHEDULE

# Send again: from the first attempt, in the order of the events. What is in flight is left alone.
_AGAIN = """
UPDATE webhook_deliveries SET status = 'pending', attempts = 0, first_attempt_at = NULL, ended_at = NULL,
  due_at = CASE WHEN order_ledger_id IS NULL THEN now() ELSE 'infinity' END
"""
_NOT_IN_FLIGHT = "(claimed_until IS NULL OR claimed_until <= now())"
RESEND = f"{_AGAIN} WHERE id = %(delivery_id)s AND endpoint_id = %(id)s AND {_NOT_IN_FLIGHT}"
RESEND_EACH = f"{_AGAIN} WHERE id = ANY (%(ids)s::uuid[]) AND {_NOT_IN_FLIGHT} RETURNING order_ledger_id"

_SINCE = """
SELECT id, created_at FROM webhook_deliveries
WHERE endpoint_id = %(id)s AND event_id IS NOT NULL AND (created_at, id) > (%(created_at)s, %(after)s::uuid)
  AND created_at <= %(until)s
"""
_OLDEST_FIRST = "ORDER BY created_at, id LIMIT %(limit)s"
# What waits for its first attempt is not sent again.
FAILED_SINCE = f"""
{_SINCE} AND status <> 'succeeded' AND (status = 'failed' OR attempts > 0) {_OLDEST_FIRST}
"""
ALL_SINCE = f"{_SINCE} AND (status <> 'pending' OR attempts > 0) {_OLDEST_FIRST}"
NOW = "SELECT now() AS now"


def page_of_deliveries(status: str | None, *, is_after: bool) -> str:
    """One page of an endpoint's deliveries, newest first. A status is part of the text, so that its index is used."""
    conditions = ["endpoint_id = %(id)s"]
    conditions += [f"status = '{status}'"] if status in deliveries.STATUSES else []
    conditions += ["(created_at, id) < (%(created_at)s, %(after)s::uuid)"] if is_after else []
    # The comment keeps the statement from being prepared, as in edge_api/listing.py.
    return f"""/* deliveries */
SELECT {_DELIVERY} FROM webhook_deliveries AS delivery WHERE {" AND ".join(conditions)}
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
