"""The record of what operators did, and of each start of a process. It only takes new rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.database.database import Database, Row
from console import record_statements as sql
from edge_api.cursor import page_of


def page(database: Database, query: Mapping[str, Any]) -> Row:
    """One page, the newest first, and the cursor of the next one: null at the end.

    :param query: as `schemas.RecordQuery` loads it
    """
    limit = query["limit"]
    statement, parameters = page_of_record(query)
    found = database.all(statement, **parameters | {"limit": limit + 1})
    rows, next_cursor = page_of(found, limit, at="at")
    return {"rows": rows, "next_cursor": next_cursor}


def page_of_record(query: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement for one page, and its parameters but the limit."""
    conditions = [condition for name, condition in sql.CONDITIONS.items() if name in query]
    parameters = {name: query[name] for name in sql.CONDITIONS if name in query}
    if after := query.get("cursor"):
        conditions.append(sql.AFTER)
        parameters |= {"after_at": after.created_at, "after_id": after.id}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return sql.PAGE.format(where=where), parameters


def actions(database: Database) -> list[str]:
    """Every kind of action in the record, for the filter."""
    return [row["action"] for row in database.all(sql.ACTIONS)]
