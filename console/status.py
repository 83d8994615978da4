"""How everything is: the figures of the overview, computed at most every two seconds in each process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from common.database.database import Database, Row
from common.heartbeats import heartbeat
from common.ledger import reading
from common.ledger.reading import Slot
from console import audits, status_statements
from console.cached import Cached
from console.participants import Participants
from console.problems import notices_of, problems_of
from domain.refunds import RefundStatus
from domain.states import Status

FRESH_S, DAY_FRESH_S = 2.0, 30.0
RATE_MINUTES = 5
OPEN = tuple(str(status) for status in Status if not status.is_terminal)
AGES = ("hour", "day", "week", "older")
"""Of held money: less than an hour, a day, a week, and older."""


class Board:
    """What all that look at the overview see."""

    def __init__(self, database: Database, participants: Participants) -> None:
        self._database, self._participants = database, participants
        self._hour = Cached(lambda: reading.last_hour(database), FRESH_S)
        self._day = Cached(lambda: reading.last_day(database), DAY_FRESH_S)
        self._status = Cached(self._compute, FRESH_S)

    def status(self) -> Row:
        found = self._status.get() | {"participants": self._participants.latest()}
        return found | {"problems": problems_of(found), "notices": notices_of(found)}

    def hour(self) -> Row:
        """The chart of the last hour, by the minute."""
        return chart_of(self._hour.get())

    def day(self) -> Row:
        """The chart of the last day, by a quarter of an hour."""
        return chart_of(self._day.get())

    def _compute(self) -> Row:
        (now,) = self._database.all(status_statements.SNAPSHOT)
        return {
            "as_of": now["as_of"],
            "orders": figures_of(self._hour.get()),
            "in_flight": in_flight(now["orders"]),
            "refunds_in_flight": sorted(now["refunds"], key=lambda row: list(RefundStatus).index(row["status"])),
            "retrying": sum(row["retrying"] for row in (*now["orders"], *now["refunds"])),
            "oldest_due_at": now["oldest_due_at"],
            "needs_attention": now["needs_attention"],
            "needs_attention_since": now["needs_attention_since"],
            "dealt_with": now["dealt_with"],
            "held": held_money(now["orders"]),
            "processes": heartbeat.read(self._database),
            "audit": audits.read(self._database, limit=1)["last"],
        }


def figures_of(hour: Sequence[Slot]) -> Row:
    """The last hour in numbers. The rate is that of the last five minutes that are over."""
    whole = reading.together(hour)
    recent = reading.together(hour[-1 - RATE_MINUTES : -1])
    return {
        "per_minute": recent.counts["accepted"] / RATE_MINUTES,
        "counts": dict(whole.counts),
        "shares": whole.shares,
        "p50_s": whole.p50_s,
        "p95_s": whole.p95_s,
    }


def in_flight(rows: Iterable[Row]) -> list[Row]:
    """The open orders in each state, in the order of the saga. Every state is there."""
    found = {status: {"status": status, "orders": 0, "retrying": 0} for status in OPEN}
    for row in rows:
        found[row["status"]]["orders"] += row["orders"]
        found[row["status"]]["retrying"] += row["retrying"]
    return list(found.values())


def held_money(rows: Iterable[Row]) -> list[Row]:
    """Money that is held and neither captured nor given back, of each currency and age."""
    found: dict[str, dict[str, Row]] = defaultdict(lambda: {age: {"holds": 0, "amount_cents": 0} for age in AGES})
    for row in rows:
        if row["held"]:
            place = found[row["currency"]][row["age"]]
            place["holds"] += row["held"]
            place["amount_cents"] += row["held_cents"]
    return [{"currency": currency, **found[currency]} for currency in sorted(found)]


def chart_of(slots: Sequence[Slot]) -> Row:
    """Columns for a chart: times in Unix seconds, counts, and durations in seconds. Null: no order was completed."""
    counts: dict[str, list[Any]] = {name: [slot.counts[name] for slot in slots] for name in ("accepted", *reading.ENDS)}
    return {
        "at": [int(slot.at.timestamp()) for slot in slots],
        **counts,
        "p50_s": [_rounded(slot.p50_s) for slot in slots],
        "p95_s": [_rounded(slot.p95_s) for slot in slots],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
