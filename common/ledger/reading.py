"""Reads the sums: the last hour by the minute, and the last day by a quarter of an hour, without gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from common.database.database import Database, Row
from common.ledger import durations, statements
from common.ledger.statements import COUNTED

MINUTE_S, QUARTER_S, HOUR_S, DAY_S = 60, 900, 3600, 86_400
ENDS = ("completed", "declined", "failed", "cancelled")


@dataclass(frozen=True)
class Slot:
    """What happened in one piece of time, which begins at `at`."""

    at: datetime
    counts: Mapping[str, int]
    """`accepted`, `declined`, `completed`, `failed`, `cancelled`, `refunds_succeeded`, `refunds_failed`."""
    durations: Sequence[int]
    """Completed orders in each class of common/ledger/durations.py."""

    @property
    def shares(self) -> dict[str, float | None]:
        """Of the orders that ended in this time: the share of each end. None: none ended."""
        ended = sum(self.counts[end] for end in ENDS)
        return {end: self.counts[end] / ended if ended else None for end in ENDS}

    @property
    def p50_s(self) -> float | None:
        """Half of the orders that were completed took at most this long, from the request. None: there are none."""
        return durations.quantile(self.durations, 0.5)

    @property
    def p95_s(self) -> float | None:
        return durations.quantile(self.durations, 0.95)


def last_hour(database: Database) -> list[Slot]:
    """Sixty minutes, the oldest first. The last one is not over yet."""
    return _slots(database, HOUR_S, MINUTE_S)


def last_day(database: Database) -> list[Slot]:
    """Ninety-six quarters of an hour, the oldest first. The last one is not over yet."""
    return _slots(database, DAY_S, QUARTER_S)


def together(slots: Sequence[Slot]) -> Slot:
    """Several slots as one, for the figures above a chart. There must be at least one."""
    counts = {name: sum(slot.counts[name] for slot in slots) for name in COUNTED}
    return Slot(slots[0].at, counts, durations.total([slot.durations for slot in slots]))


def _slots(database: Database, period_s: int, slot_s: int) -> list[Slot]:
    (clock,) = database.all(statements.NOW)
    end = int(clock["now"]) // slot_s * slot_s + slot_s
    begins = range(end - period_s, end, slot_s)
    rows: dict[int, list[Row]] = {begin: [] for begin in begins}
    for row in database.all(statements.SINCE, since=begins[0]):
        rows.setdefault(row["minute"] // slot_s * slot_s, []).append(row)
    return [_slot(begin, rows[begin]) for begin in begins]


def _slot(begin: int, rows: Sequence[Row]) -> Slot:
    counts = {name: sum(row[name] for row in rows) for name in COUNTED}
    return Slot(datetime.fromtimestamp(begin, UTC), counts, durations.total([row["durations"] for row in rows]))
