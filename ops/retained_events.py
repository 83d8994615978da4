"""Delete events that are older than they are kept, in the order of the feed, a client at a time.

What was deleted last of each type is noted, so that the feed can tell a reader that it has missed something, and the
audit does not miss it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from common.database.database import Row
from common.database.transaction import Transaction
from domain.events import EventType
from ops.batches import Batches
from ops.database import within

TIMEOUT_S = 30
BATCH = 1_000  # events

# Each client once, by the index on it.
CLIENTS = """
WITH RECURSIVE clients (client) AS (
  (SELECT client FROM events WHERE client > '' ORDER BY client LIMIT 1)
  UNION ALL
  SELECT (SELECT events.client FROM events WHERE events.client > clients.client ORDER BY client LIMIT 1)
  FROM clients WHERE clients.client IS NOT NULL
)
SELECT client FROM clients WHERE client IS NOT NULL
"""
NOTE = """
INSERT INTO deleted_events AS noted (client, type, xid, position, at)
SELECT DISTINCT ON (client, type) client, type, xid, position, max(at) OVER (PARTITION BY client, type)
FROM gone ORDER BY client, type, xid DESC, position DESC
ON CONFLICT (client, type) DO UPDATE SET at = GREATEST(noted.at, EXCLUDED.at),
  xid = CASE WHEN is_later THEN EXCLUDED.xid ELSE noted.xid END,
  position = CASE WHEN is_later THEN EXCLUDED.position ELSE noted.position END
""".replace("is_later", "(EXCLUDED.xid, EXCLUDED.position) > (noted.xid, noted.position)")
RETURNING = "RETURNING events.client, events.type, events.xid, events.position, events.at"
# The first events of the client, up to the first one that is too young.
DELETE_OLD = f"""
WITH ordered AS (
  SELECT event.*, bool_and(at < now() - %(days)s * interval '1 day') OVER (ORDER BY xid, position) AS is_old
  FROM unnest(%(types)s::text[]) AS wanted (type) CROSS JOIN LATERAL (
    SELECT id, xid, position, at FROM events WHERE client = %(client)s AND events.type = wanted.type COLLATE "C"
    ORDER BY xid, position LIMIT %(size)s
  ) AS event ORDER BY xid, position LIMIT %(size)s
), gone AS (
  DELETE FROM events USING ordered WHERE events.id = ordered.id AND is_old {RETURNING}
), noted AS ({NOTE})
SELECT count(*) AS events FROM gone
"""
DELETE_OF_ORDERS = f"""
WITH gone AS (DELETE FROM events WHERE order_ledger_id = ANY (%(ids)s::uuid[]) {RETURNING}) {NOTE}
"""
# Endpoints that come past an event that is deleted, because they are disabled or far behind.
MISSED = """
SELECT endpoint.id, endpoint.status FROM webhook_endpoints AS endpoint
WHERE deleted_at IS NULL AND EXISTS (
  SELECT FROM deleted_events AS gone WHERE gone.client = endpoint.client
    AND (gone.type = ANY (endpoint.event_types) OR '*' = ANY (endpoint.event_types))
    AND (gone.xid, gone.position) > (endpoint.cursor_xid, endpoint.cursor_position))
ORDER BY endpoint.id
"""


def missed(connection: Any) -> list[Row]:
    """The `id` and `status` of each webhook endpoint that will never get events which are deleted."""
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        return tx.all(MISSED)


def delete(batches: Batches, days: int) -> None:
    for client in _clients(batches.connection):
        deleted = BATCH
        while deleted == BATCH and not batches.is_late:
            before = batches.done["events"]
            batches.once(lambda tx, client=client: _delete_old(tx, client, days))  # type: ignore[misc]
            deleted = batches.done["events"] - before


def _clients(connection: Any) -> list[str]:
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        return [row["client"] for row in tx.all(CLIENTS)]


def _delete_old(tx: Transaction, client: str, days: int) -> Counter[str]:
    types = list(map(str, EventType))
    (found,) = tx.all(DELETE_OLD, client=client, types=types, days=days, size=BATCH)
    return Counter({"events": found["events"]})
