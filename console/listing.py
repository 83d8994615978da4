"""The list of orders of all clients, newest first, page by page.

Every index of the ledger begins with the client. A page is merged from one page of each client, so that the console
costs a POST no index of its own. There are as many clients as a merchant has shops and tills.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.api.fields import rfc3339
from common.attention.conditions import needs_attention
from common.database.database import Database, Row
from edge_api.cursor import page_of
from edge_api.listing import AFTER, CONDITIONS, NEWEST_FIRST, conditions_of_states

MAX_CLIENTS = 1_000
# Each step finds the next client by the index: as many steps as there are clients, however many orders they have.
CLIENTS = """
WITH RECURSIVE known (client) AS (
  (SELECT client FROM order_ledger ORDER BY client LIMIT 1)
  UNION ALL
  SELECT (SELECT l.client FROM order_ledger l WHERE l.client > known.client ORDER BY l.client LIMIT 1)
  FROM known WHERE known.client IS NOT NULL
)
SELECT client FROM known WHERE client IS NOT NULL LIMIT %(max_clients)s
"""
COLUMNS = f"""
l.id AS order_ledger_id, l.client, l.client_request_id, l.status, l.email, l.reference, l.total_amount_cents,
  l.currency, l.refunded_cents, l.failure_code, l.retry_count, l.next_retry_at, l.due_at, l.claimed_by, l.claimed_until,
  COALESCE(l.claimed_until > now(), false) AS is_claimed, l.needs_attention_at, l.attention_reason, l.created_at,
  l.updated_at, l.cancel_requested_at IS NOT NULL AS is_cancelled, {needs_attention("l")} AS needs_attention
"""
# The comment keeps the statement from being prepared: the best plan depends on the values.
PAGE = """/* console orders */
SELECT {columns} FROM (
  SELECT page.id, page.created_at FROM unnest(%(clients)s::text[]) AS known (client)
  CROSS JOIN LATERAL ({ids}) AS page ORDER BY page.created_at DESC, page.id DESC LIMIT %(limit)s
) AS page JOIN order_ledger AS l ON l.id = page.id
ORDER BY page.created_at DESC, page.id DESC
"""
# How many orders fit, and their amounts: no more than `limit` are looked at.
COUNT = """/* console orders */
SELECT l.currency, count(*) AS orders, sum(l.total_amount_cents)::bigint AS amount_cents FROM (
  SELECT page.id FROM unnest(%(clients)s::text[]) AS known (client) CROSS JOIN LATERAL ({ids}) AS page LIMIT %(limit)s
) AS page JOIN order_ledger AS l ON l.id = page.id GROUP BY l.currency ORDER BY l.currency
"""
# Whether one order fits now. The lock keeps it so.
FITS = """/* console orders */
SELECT client FROM order_ledger WHERE id = %(id)s AND {conditions} FOR UPDATE
"""
IDS = f"SELECT id, created_at FROM order_ledger WHERE {{conditions}} {NEWEST_FIRST}"
# How long ago the newest orders were placed, by the clock that they were placed by.
RECENT = """
SELECT now() - interval '1 hour' AS hour, now() - interval '24 hours' AS day, now() - interval '168 hours' AS week
"""
_NEEDS_ATTENTION = needs_attention("order_ledger")


def clients_of(database: Database) -> list[str]:
    return [row["client"] for row in database.all(CLIENTS, max_clients=MAX_CLIENTS)]


def recent(database: Database) -> dict[str, str]:
    """`{"hour", "day", "week"}`: when it began, as `created_from` takes it."""
    (began,) = database.all(RECENT)
    return {name: rfc3339(moment) for name, moment in began.items()}


def page(database: Database, query: Mapping[str, Any]) -> Row:
    """One page of orders, and the cursor of the next one: null at the end.

    :param query: as `schemas.OrderQuery` loads it
    """
    limit = query["limit"]
    statement, parameters = page_of_orders(clients_of(database), query)
    found = database.all(statement, **parameters | {"limit": limit + 1})
    shown, next_cursor = page_of(found, limit, id_="order_ledger_id")
    return {"orders": shown, "next_cursor": next_cursor}


def page_of_orders(clients: list[str], query: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement for one page, and its parameters but the limit."""
    ids, parameters = _ids(clients, query)
    return PAGE.format(columns=COLUMNS, ids=ids), parameters


def count_of_orders(clients: list[str], query: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement that counts, and its parameters but the limit."""
    ids, parameters = _ids(clients, query)
    return COUNT.format(ids=ids), parameters


def fits(query: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement that asks whether one order fits, and its parameters but the `id`."""
    common, states, parameters = _conditions(query)
    of_client = ["client = %(client)s"] if "client" in query else []
    any_state = " OR ".join(f"({' AND '.join(state)})" for state in states)
    return FITS.format(conditions=" AND ".join([*of_client, *common, f"({any_state})"])), {**query, **parameters}


def _ids(clients: list[str], query: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    common, states, parameters = _conditions(query)
    parts = [IDS.format(conditions=" AND ".join(["client = known.client", *common, *state])) for state in states]
    ids = parts[0] if len(parts) == 1 else f"({') UNION ALL ('.join(parts)}) {NEWEST_FIRST}"
    return ids, {**query, "clients": [query["client"]] if "client" in query else clients, **parameters}


def _conditions(query: Mapping[str, Any]) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """The conditions that must all hold, the alternatives (one must hold), and their parameters."""
    common = [CONDITIONS[name] for name in CONDITIONS if name in query]
    parameters: dict[str, Any] = {}
    if after := query.get("cursor"):
        common.append(AFTER)
        parameters |= {"after_created_at": after.created_at, "after_id": after.id}
    if query.get("needs_attention"):
        common.append(_NEEDS_ATTENTION)
    states, opened = conditions_of_states(query.get("status"), query.get("refund_status"))
    return common, states, parameters | {"open": opened}
