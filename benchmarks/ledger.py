"""The outcome of orders, read from the ledger: asking the Edge API would add load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import ceil
from typing import Any

import psycopg2

from benchmarks.load import Load

LOOK_EVERY_S = 0.05  # reads only the index of open orders, which costs almost nothing
ALL_ENDED_WITHIN_S = 300

OPEN = "SELECT 1 FROM order_ledger WHERE due_at IS NOT NULL LIMIT 1"

# When orders reached a status, by the database server's clock, which is this machine's.
REACHED = """
SELECT order_ledger_id::text, extract(epoch FROM at)::float FROM order_ledger_history
WHERE to_status = %s AND at >= to_timestamp(%s)
"""

# When the orders service began the transaction that creates the order: the first step of the saga.
FIRST_STEP = """
SELECT order_ledger_id::text, extract(epoch FROM created_at)::float FROM orders
WHERE order_ledger_id IS NOT NULL AND created_at >= to_timestamp(%s)
"""

# Orders completed a second so far, counted from the first step of the first order.
DRAINED = """
SELECT count(*) FILTER (WHERE to_status = 'COMPLETED') / extract(epoch FROM
  max(at) FILTER (WHERE to_status = 'COMPLETED') - min(at) FILTER (WHERE to_status = 'ORDER_CREATED'))::float
FROM order_ledger_history
"""


class NotCompleted(Exception):
    """Orders did not complete although nothing prevented it, so there is nothing to measure."""


@dataclass(frozen=True)
class Outcome:
    """Accepted orders, and when each was completed, in seconds since the epoch."""

    load: Load
    completed: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """From the first POST until all were completed."""
        return len(self.completed) / (max(self.completed.values()) - self.load.began)

    @property
    def ms(self) -> list[float]:
        """From sending the POST to `COMPLETED`."""
        return [(self.completed[each.order_ledger_id] - each.sent) * 1000 for each in self.load.answers]


def outcome(url: str, load: Load, check: Callable[[], None]) -> Outcome:
    """Wait until every order has ended.

    :param check: raises if waiting is useless
    :raises NotCompleted: an order did not end, or failed
    """
    wait_until_all_ended(url, check)
    when = reached(url, "COMPLETED", load.began)
    ids = {each.order_ledger_id for each in load.answers}
    if ids - when.keys() or load.others:
        raise NotCompleted(f"{len(ids - when.keys())} of {len(ids)} were not completed; other responses: {load.others}")
    return Outcome(load, {each: when[each] for each in ids})


def wait_until_all_ended(url: str, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + ALL_ENDED_WITHIN_S
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while _any_open(cursor):
            check()
            if time.monotonic() > deadline:
                raise NotCompleted(f"orders are still open after {ALL_ENDED_WITHIN_S} s")
            time.sleep(LOOK_EVERY_S)


def _any_open(cursor: Any) -> bool:
    cursor.execute(OPEN)
    return bool(cursor.fetchall())


def drained_per_second(url: str) -> float:
    return float(query(url, DRAINED)[0][0])


def reached(url: str, status: str, since: float) -> dict[str, float]:
    """Times by order, in seconds since the epoch."""
    return dict(query(url, REACHED, status, since))


def first_step_begun(url: str, since: float) -> dict[str, float]:
    """Times by order, in seconds since the epoch."""
    return dict(query(url, FIRST_STEP, since))


def query(url: str, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least this percentage of the values do not exceed."""
    return sorted(values)[ceil(len(values) * percent / 100) - 1]
