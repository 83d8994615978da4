"""How far a run has come, by the books."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import psycopg2

OPEN = """
SELECT (SELECT count(*) FROM order_ledger WHERE due_at IS NOT NULL),
  (SELECT count(*) FROM refunds WHERE due_at IS NOT NULL),
  (SELECT count(*) FROM events) - (SELECT count(*) FROM webhook_deliveries WHERE status = 'succeeded'),
  (SELECT count(*) FROM events)
"""


class Open(NamedTuple):
    """How many have not ended. `undelivered`: events that the receiver has not accepted; `events`: all of them."""

    orders: int
    refunds: int
    undelivered: int
    events: int

    def __str__(self) -> str:
        return f"{self.orders} orders and {self.refunds} refunds open, {self.undelivered} events to deliver"


def standing(url: str) -> Open | None:
    """None: the database is down."""
    quietly = "-c client_min_messages=error"  # a server that shuts down would write into our line
    try:
        connection = psycopg2.connect(url, connect_timeout=2, options=quietly)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(OPEN)
            return Open(*cursor.fetchone())  # type: ignore[misc]
    except psycopg2.Error:
        return None
