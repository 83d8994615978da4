"""The requests of an order's saga, and of its refunds', that were refused or not answered."""

from __future__ import annotations

from typing import NamedTuple

from common.database.database import Database, Row

FIRST = 20
NEWEST = 80

# Both ends of an order's attempts, newest first, by the primary key. An undo that never succeeds has an attempt every
# five minutes: the first ones say why it began, and the newest ones what is wrong now.
ENDS = """
SELECT shown.*, (SELECT count(*) FROM attempts WHERE order_ledger_id = %(order_ledger_id)s) AS of_all FROM (
  (SELECT id, refund_id, step, attempt, began_at, took_ms, kind, http_status, code, message, request_id
    FROM attempts WHERE order_ledger_id = %(order_ledger_id)s ORDER BY began_at, id LIMIT %(first)s)
  UNION
  (SELECT id, refund_id, step, attempt, began_at, took_ms, kind, http_status, code, message, request_id
    FROM attempts WHERE order_ledger_id = %(order_ledger_id)s ORDER BY began_at DESC, id DESC LIMIT %(newest)s)
) AS shown ORDER BY began_at DESC, id DESC
"""


class Attempts(NamedTuple):
    """Newest first. `left_out` attempts lie between the first ones and the newest ones."""

    first: list[Row]
    newest: list[Row]
    left_out: int


def of_order(database: Database, order_ledger_id: str, *, first: int = FIRST, newest: int = NEWEST) -> Attempts:
    """The first and the newest attempts of an order and its refunds."""
    found = database.all(ENDS, order_ledger_id=order_ledger_id, first=first, newest=newest)
    of_all = found[0]["of_all"] if found else 0
    rows = [{name: value for name, value in row.items() if name != "of_all"} for row in found]
    at = max(len(rows) - first, 0)
    return Attempts(rows[at:], rows[:at], of_all - len(rows))
