"""`GET /events`: a client's events, oldest first. A reader misses none (docs/decisions/0053).

The place of an event is (xid, position). An event is shown when every transaction that began to write before its own
has ended, so that none appears later in front of it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from common.api.errors import ValidationFailed
from common.database.database import Database, Row
from common.events.body import COLUMNS, event_body
from domain.events import EventType
from edge_api.operations import Edge

MADE_HERE = re.compile("evt_([0-9a-f]{11})([0-9a-f]{13})", re.ASCII)
"""An id tells the place of its event, also after it was deleted."""
UNKNOWN = "There is no such event. Take `next_after` of the page before, or begin without it."
GONE = "Events after this one have been deleted, because they were older than they are kept. Begin without `after`."

_IS_SHOWN = """(xid, position) > (%(xid)s::xid8, %(position)s::bigint)
  AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, position LIMIT %(limit)s"""
# The first events of each type by the index on it, and of these the first ones.
OF_CLIENT = f"""
SELECT event.* FROM unnest(%(types)s::text[]) AS wanted (type) CROSS JOIN LATERAL (
  SELECT * FROM events WHERE client = %(client)s AND events.type = wanted.type COLLATE "C" AND {_IS_SHOWN}
) AS event ORDER BY event.xid, event.position LIMIT %(limit)s
"""
OF_ORDER = f"""
SELECT * FROM events
WHERE order_ledger_id = %(order_ledger_id)s::uuid AND client = %(client)s AND type = ANY (%(types)s) AND {_IS_SHOWN}
"""
PAGE_OF_CLIENT, PAGE_OF_ORDER = (
    f"SELECT {COLUMNS} FROM ({events}) AS e JOIN order_ledger AS l ON l.id = e.order_ledger_id"
    " ORDER BY e.xid, e.position"
    for events in (OF_CLIENT, OF_ORDER)
)
PLACE = "SELECT xid::text AS xid, position FROM events WHERE id = %(id)s AND client = %(client)s"
DELETED_LATER = """
SELECT bool_or(type = ANY (%(types)s) AND (xid, position) > (%(xid)s::xid8, %(position)s::bigint)) AS of_these
FROM deleted_events WHERE client = %(client)s AND (xid, position) >= (%(xid)s::xid8, %(position)s::bigint)
HAVING count(*) > 0
"""


class Place(NamedTuple):
    xid: str
    position: int


BEGINNING = Place("0", 0)


def list_events(edge: Edge, client: str, query: dict[str, Any]) -> Row:
    """One page of the client's events, and the id after which the next page begins.

    :raises ValidationFailed: `after` is unknown, or the reader has missed events that were deleted
    """
    database, after = edge.store.database, query.get("after")
    filters = {"client": client, "types": sorted(query.get("type", EventType))}
    place = _place(database, after, filters) if after else BEGINNING
    statement = PAGE_OF_ORDER if "order_ledger_id" in query else PAGE_OF_CLIENT
    of_order = {name: query[name] for name in ("order_ledger_id",) if name in query}
    rows = database.all(statement, **filters, **of_order, **place._asdict(), limit=query["limit"])
    if after:
        _refuse_if_missed(database, place, filters)  # last: events may be deleted at the same time
    events = [{"id": row["id"], **event_body(row)} for row in rows]
    return {"events": events, "next_after": events[-1]["id"] if events else after}


def _place(database: Database, after: str, filters: dict[str, Any]) -> Place:
    if found := database.one(PLACE, id=after, client=filters["client"]):
        return Place(**found)
    if made := MADE_HERE.fullmatch(after):
        place = Place(str(int(made[1], 16)), int(made[2], 16))
        if database.one(DELETED_LATER, **filters, **place._asdict()):
            return place  # it was deleted, with everything before it
    raise ValidationFailed(after=[UNKNOWN])


def _refuse_if_missed(database: Database, place: Place, filters: dict[str, Any]) -> None:
    deleted = database.one(DELETED_LATER, **filters, **place._asdict())
    if deleted and deleted["of_these"]:
        raise ValidationFailed(after=[GONE])
