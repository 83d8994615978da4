"""The SQL of the pages about webhooks, over the endpoints of all clients. Secrets are never read."""

from __future__ import annotations

# An endpoint, and since when its oldest delivery waits, tests included.
_ENDPOINT = """
SELECT id, client, url, event_types, description, status, disabled_at, disabled_reason, failing_since, warnings,
  last_success_at, created_at, updated_at, (
    SELECT delivery.created_at FROM webhook_deliveries AS delivery
    WHERE delivery.endpoint_id = endpoint.id AND delivery.status = 'pending'
    ORDER BY delivery.created_at, delivery.id LIMIT 1) AS oldest_pending_at
FROM webhook_endpoints AS endpoint WHERE deleted_at IS NULL
"""
_PAGE = "ORDER BY client, created_at, id LIMIT %(limit)s"
_AFTER = "(client, created_at, id) > (SELECT client, created_at, id FROM webhook_endpoints WHERE id = %(after)s)"
_IN_TROUBLE = "(status = 'disabled' OR failing_since IS NOT NULL)"
# One page of the endpoints of all clients: the first one, and those after an endpoint.
PAGE = f"{_ENDPOINT} {_PAGE}"
PAGE_AFTER = f"{_ENDPOINT} AND {_AFTER} {_PAGE}"
# The same for the endpoints that are disabled, or whose receiver does not work.
IN_TROUBLE = f"{_ENDPOINT} AND {_IN_TROUBLE} {_PAGE}"
IN_TROUBLE_AFTER = f"{_ENDPOINT} AND {_IN_TROUBLE} AND {_AFTER} {_PAGE}"
# The same for one client.
OF_CLIENT = f"{_ENDPOINT} AND client = %(client)s {_PAGE}"
OF_CLIENT_AFTER = f"{_ENDPOINT} AND client = %(client)s AND {_AFTER} {_PAGE}"
OF_CLIENT_IN_TROUBLE = f"{_ENDPOINT} AND client = %(client)s AND {_IN_TROUBLE} {_PAGE}"
OF_CLIENT_IN_TROUBLE_AFTER = f"{_ENDPOINT} AND client = %(client)s AND {_IN_TROUBLE} AND {_AFTER} {_PAGE}"
ENDPOINT = f"{_ENDPOINT} AND id = %(id)s"
