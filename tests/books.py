"""The books at the end of a test: the audit's findings, and the orders that have not ended."""

from __future__ import annotations

from typing import Any

import psycopg2

OPEN = """
SELECT id::text, concat_ws(' ', status, status_detail, retry_count)
FROM order_ledger WHERE due_at IS NOT NULL ORDER BY id
"""


def violations(url: str, *, at_rest: bool = True) -> dict[str, list[Any]]:
    """Return the violations by check; empty when the books agree.

    :param at_rest: whether every order must have ended
    """
    found: dict[str, list[Any]] = {}
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT check_name, subject, detail FROM audit_violations ORDER BY 1, 2, 3")
        for name, *fault in cursor.fetchall():
            found.setdefault(name, []).append(tuple(fault))
        cursor.execute(OPEN)
        if at_rest and (rows := cursor.fetchall()):
            found["an order that is not in a terminal state"] = rows
    connection.close()
    return found
