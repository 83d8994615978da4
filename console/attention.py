"""Orders and refunds that need a person, the oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from common.database.database import Database, Row
from console import attention_statements as sql
from domain.states import Status
from edge_api.cursor import Position, page_of

BEGINNING = Position(datetime(1970, 1, 1, tzinfo=UTC), "00000000-0000-0000-0000-000000000000")


def page(database: Database, query: Mapping[str, Any]) -> Row:
    """One page, the cursor of the next one (null at the end), and how many entries there are.

    Entries that somebody has dealt with are left out, unless `query["all"]`. One that has failed again is back.

    :param query: as `schemas.AttentionQuery` loads it
    """
    after, limit = query.get("cursor", BEGINNING), query["limit"]
    found = database.all(
        sql.ATTENTION, after=after.created_at, after_id=after.id, all=query.get("all", False), limit=limit + 1
    )
    shown, next_cursor = page_of(found, limit, at="since")
    entries = [entry | {"money": money_of(entry)} for entry in shown]
    return {"entries": entries, "next_cursor": next_cursor, **count(database)}


def count(database: Database) -> Row:
    """How many entries are `open`, how many are `dealt_with`, and `since` when the oldest open one waits."""
    (found,) = database.all(sql.COUNT)
    return found


def money_of(entry: Row) -> str:
    """What the ledger knows of the money that is at stake. The order's page shows what the participants hold."""
    if entry["kind"] == "refund":
        return "given back" if entry["status"] in ("PAYMENT_REFUNDED", "RESTOCKED", "SUCCEEDED") else "not given back"
    status, reached = Status(entry["status"]), entry["compensating_from"] or entry["status"]
    if status in (Status.FAILED, Status.AUTHORIZATION_FAILED) or "void_payment" in entry["undone"]:
        return "given back"
    if not entry["is_authorized"]:
        return "perhaps held"  # the gateway may have it, and nobody has heard its answer
    if reached == Status.INVENTORY_RESERVED:
        return "held, perhaps captured"
    return "captured" if reached in (Status.PAYMENT_CAPTURED, Status.COMPLETED) else "held"
