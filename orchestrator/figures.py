"""The business figures among the metrics, read from the database when somebody asks, so that they agree with the books.

Every orchestrator exports the same values. A time that nothing has is left out, and so is everything while the database
does not answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import psycopg2
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from common.database.database import Database, Row
from common.database.errors import TransientDatabaseError
from common.ledger import durations
from common.ledger import statements as sums
from domain.events import EventType
from domain.states import Status
from orchestrator import figures_statements as statements

log = logging.getLogger(__name__)

ORDERS = ("accepted", "declined", "completed", "failed", "cancelled")
REFUNDS = ("succeeded", "failed")
OPEN = tuple(status for status in Status if not status.is_terminal)
PREFIX = "holdfast_"


class Figures:
    """A collector. It has connections of its own, with the limits of every session."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Any]:
        try:
            found = [*self._totals(), *self._open(), *self._overdue(), *self._webhooks(), *self._audit()]
        except (TransientDatabaseError, psycopg2.Error) as error:
            log.warning("the figures of the ledger are missing: %s", str(error).strip() or type(error).__name__)
            return
        yield from found

    def _totals(self) -> Iterator[Any]:
        for row in self._database.all(sums.TOTALS):
            yield _counter("orders", "Orders, by what became of them.", ORDERS, row, "")
            yield _counter("refunds", "Refunds of customers, by what became of them.", REFUNDS, row, "refunds_")
            ends = [*(f"{bound:g}" for bound in durations.BOUNDS), "+Inf"]
            yield HistogramMetricFamily(
                f"{PREFIX}order_duration_seconds",
                "Time from the request of an order until it was completed.",
                buckets=list(zip(ends, accumulate(row["durations"]), strict=True)),
                sum_value=row["duration_s"],
            )

    def _open(self) -> Iterator[Any]:
        rows = {row["status"]: row for row in self._database.all(statements.OPEN_ORDERS)}
        (refunds,) = self._database.all(statements.RETRYING_REFUNDS)
        (attention,) = self._database.all(statements.NEEDS_ATTENTION)
        (alive,) = self._database.all(statements.ORCHESTRATORS)
        yield _gauge("orchestrators", "Orchestrators that have given a sign of life in 30 s.", alive["orchestrators"])
        retrying = sum(row["retrying"] for row in rows.values()) + refunds["retrying"]
        by_status = GaugeMetricFamily(f"{PREFIX}orders_open", "Open orders, by their state.", labels=("status",))
        for status in OPEN:
            by_status.add_metric((status,), rows[status]["orders"] if status in rows else 0)
        yield by_status
        yield _gauge("orders_retrying", "Open orders and refunds that wait for a retry.", retrying)
        yield _gauge("needs_attention", "Orders and refunds that need a person.", attention["entries"])
        yield _gauge("holds_open", "Open orders whose payment is held.", sum(row["held"] for row in rows.values()))
        about = "When the oldest order whose payment is held was placed."
        yield from _time("oldest_hold", about, (row["oldest_held"] for row in rows.values()))

    def _overdue(self) -> Iterator[Any]:
        (due,) = self._database.all(statements.OLDEST_DUE)
        yield from _time("oldest_due", "Since when the longest overdue order or refund is due.", [due["at"]])

    def _webhooks(self) -> Iterator[Any]:
        (pending,) = self._database.all(statements.OLDEST_PENDING_WEBHOOK, types=list(map(str, EventType)))
        (disabled,) = self._database.all(statements.DISABLED_WEBHOOKS)
        about = "Since when the longest overdue delivery is due, or the oldest event waits for its deliveries."
        yield from _time("webhook_oldest_pending", about, [pending["at"]])
        yield _gauge("webhook_endpoints_disabled", "Disabled webhook endpoints.", disabled["endpoints"])

    def _audit(self) -> Iterator[Any]:
        for row in self._database.all(sums.LAST_AUDIT):
            about = "Violations that the last recorded audit found, by rule."
            by_rule = GaugeMetricFamily(f"{PREFIX}audit_violations", about, labels=("rule",))
            for rule, found in row["violations"].items():
                by_rule.add_metric((rule,), found)
            yield by_rule
            yield from _time("audit", "When the last recorded audit ran.", [row["at"].timestamp()])


def _counter(name: str, about: str, outcomes: Iterable[str], row: Row, prefix: str) -> Any:
    family = CounterMetricFamily(f"{PREFIX}{name}", about, labels=("outcome",))
    for outcome in outcomes:
        family.add_metric((outcome,), row[prefix + outcome])
    return family


def _gauge(name: str, about: str, value: float) -> Any:
    return GaugeMetricFamily(f"{PREFIX}{name}", about, value=value)


def _time(name: str, about: str, times: Iterable[float | None]) -> Iterator[Any]:
    """The earliest of these times. Without any, there is no series, and `time() - x` has no value."""
    if known := [time for time in times if time is not None]:
        yield _gauge(f"{name}_timestamp_seconds", about, min(known))
