"""The events: are they numbered by this server's transactions?"""

from __future__ import annotations

from collections.abc import Iterator

from common.database.soundness import Problem
from ops.checks.look import Look

# Ids of events begin with the number of their transaction.
NEWEST = """
SELECT xid::text AS xid, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM events
WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()) AND id = (SELECT max(id) FROM events)
"""
# Webhook endpoints remember up to where they got events.
FARTHEST = """
SELECT max(cursor_xid)::text AS xid, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM webhook_endpoints
HAVING max(cursor_xid) > pg_snapshot_xmax(pg_current_snapshot())
"""
# So does the count of orders by the minute.
COUNTED = """
SELECT xid::text AS xid, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM order_totals
WHERE xid > pg_snapshot_xmax(pg_current_snapshot())
"""
# 3 is the first number that a server uses. The order of the events stays, and so does the place of each reader.
RENUMBER = (
    "UPDATE webhook_endpoints SET cursor_xid = '3', cursor_position = (SELECT count(*) FROM events WHERE"
    " (events.xid, events.position) <= (webhook_endpoints.cursor_xid, webhook_endpoints.cursor_position));"
    " UPDATE order_totals SET renumbered_after = (SELECT count(*) FROM events WHERE (events.xid, events.position) <="
    " (order_totals.xid, order_totals.position)), event_id = '', xid = '3', position = 0;"
    " UPDATE events SET xid = '3', position = ordered.position FROM (SELECT id, row_number() OVER (ORDER BY xid,"
    " position) AS position FROM events) AS ordered WHERE ordered.id = events.id;"
    " UPDATE deleted_events SET xid = '3', position = 0"
)


def numbers(look: Look) -> Iterator[Problem]:
    if not look.all("SELECT 1 WHERE to_regclass('events') IS NOT NULL"):
        return  # the database is not migrated, which another check reports
    for row in look.all(NEWEST):
        yield Problem(
            f"the last event was numbered {row['xid']} by another server, and this one is at {row['next']}: readers of"
            " the feed would see new events before old ones",
            RENUMBER,
        )
        return
    if look.all("SELECT 1 WHERE to_regclass('order_totals') IS NOT NULL"):
        for row in look.all(COUNTED):
            yield Problem(
                f"orders are counted up to {row['xid']}, numbered by another server, and this one is at {row['next']}:"
                " nothing would be counted",
                RENUMBER,
            )
            return
    for row in look.all(FARTHEST):
        yield Problem(
            f"a webhook endpoint waits for events after {row['xid']}, numbered by another server, and this one is at"
            f" {row['next']}: nothing would be delivered to it",
            RENUMBER,
        )
