"""The figures of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from tests.chaos.books import Books
from tests.chaos.deliveries import Receipt, delays, fates
from tests.chaos.findings import Finding
from tests.chaos.told import Promises, Told

# Each entry that has ended: how, why, after how long, and when.
ENDED = """
SELECT l.status, l.failure_code, extract(epoch FROM h.at - l.created_at)::float, extract(epoch FROM h.at)::float
FROM order_ledger l JOIN LATERAL (
  SELECT at FROM order_ledger_history WHERE order_ledger_id = l.id AND to_status = l.status
  ORDER BY id DESC LIMIT 1) h ON true
WHERE l.due_at IS NULL
"""


@dataclass
class Figures:
    """Times are in seconds. Dicts count by name."""

    seed: int
    orders: int = 0
    given_up: int = 0
    unanswered: int = 0
    storm_s: float = 0
    quiet_s: float = 0
    """Seconds from the end of the storm until all orders had ended and all clients had their answers."""
    kills: dict[str, dict[str, int]] = field(default_factory=dict)
    """By process and by killed part."""
    restarts: int = 0
    longest_restart_s: float = 0
    freezes: int = 0
    hangs: int = 0
    locks: int = 0
    poisoned: int = 0
    marked: int = 0
    """Poisoned entries that were marked while they were poisoned."""
    mishaps: dict[str, int] = field(default_factory=dict)
    gateway: dict[str, Any] = field(default_factory=dict)
    """The sums of money in the gateway's own books, and its failed calls by kind."""
    answers: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    cancels: dict[str, int] = field(default_factory=dict)
    """Cancellations by answer, and the orders that were cancelled by their end."""
    refunds: dict[str, int] = field(default_factory=dict)
    """Refunds by their end, or by the answer that refused them."""
    restocked: int = 0
    """Refunds that put pieces back."""
    events: int = 0
    deliveries: dict[str, int] = field(default_factory=dict)
    """Webhooks that were received, by their fate, and how many of them had been received before."""
    delivery_s: dict[str, float] = field(default_factory=dict)
    """From an event until it was received for the first time."""
    receiver_deaths: int = 0
    staff: dict[str, int] = field(default_factory=dict)
    """How many deliveries were sent again, and how often the endpoint was enabled again, by the client."""
    operators: dict[str, int] = field(default_factory=dict)
    """Pages of the console that operators opened, and their actions by kind."""
    settle_s: dict[str, float] = field(default_factory=dict)
    settle_in_quiet_s: dict[str, float] = field(default_factory=dict)
    audits_in_storm: int = 0
    audit_rows: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.findings

    def count(self, kind: str) -> int:
        return sum(finding.kind == kind for finding in self.findings)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def add_endings(figures: Figures, url: str, quiet_at: float) -> None:
    """Add how and when the orders ended. :param quiet_at: from `time.time()`"""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(ENDED)
        rows: list[tuple[str, str | None, float, float]] = cursor.fetchall()
    for status, code, _, _ in rows:
        name = f"{status} ({code})" if code else status
        figures.states[name] = figures.states.get(name, 0) + 1
    figures.settle_s = spread([took for _, _, took, _ in rows])
    figures.settle_in_quiet_s = spread([at - quiet_at for _, _, _, at in rows if at > quiet_at])


def add_wishes(figures: Figures, promised: Promises, books: Books) -> None:
    """Add what became of cancellations and refunds."""
    for told in promised.cancels.values():
        _count(figures.cancels, _answer(told))
    for entry in books.entries:
        if entry["is_cancelled"]:
            _count(figures.cancels, "refused" if entry["status"] == "COMPLETED" else "done")
    ends = {row["id"]: row["status"] for row in books.refunds}
    for told in promised.refunds.values():
        for id_ in told.ids("refund_id"):
            _count(figures.refunds, ends.get(id_, "lost"))
        if not told.ids("refund_id"):
            _count(figures.refunds, _answer(told))
    figures.restocked = sum(bool(row["restocked"]) for row in books.refunds)


def add_deliveries(figures: Figures, received: Sequence[Receipt], books: Books) -> None:
    figures.events = len(books.events)
    repeated = len(received) - len({receipt.id for receipt in received})
    figures.deliveries = {**fates(received), "repeated": repeated}
    figures.delivery_s = spread(delays(received, books.events))


def _answer(told: Told) -> str:
    answer = (told.final or told.refusals or [{}])[0]
    return str(answer.get("error") or ("accepted" if answer else "unanswered"))


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def spread(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile, maximum and number of values."""
    if not values:
        return {"n": 0}
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": at(1)}


def kills_by_process(counts: dict[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """A journal's counts of `kill process`, `kill worker` and so on, by target."""
    kills: dict[str, dict[str, Any]] = {}
    for (what, target), number in sorted(counts.items()):
        verb, _, way = what.partition(" ")
        if verb == "kill":
            kills.setdefault(target, {})[way] = number
    return kills
