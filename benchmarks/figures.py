"""Collect the figures of a part round by round, and compare a figure with a bar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from benchmarks.ledger import percentile
from benchmarks.result import Ratio, Row


class Figures:
    """One value per round by row and column."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, **values: float) -> None:
        for column, value in values.items():
            self._rows[row][column].append(value)

    def add_latency(self, row: str, **ms: Sequence[float]) -> None:
        """Add latencies by column: each becomes two columns, p50 and p99."""
        for column, each in ms.items():
            self.add(row, **{f"{column}_p50": percentile(each, 50), f"{column}_p99": percentile(each, 99)})

    def of(self, row: str, column: str) -> list[float]:
        return self._rows[row][column]

    def rows(self) -> list[Row]:
        return [Row(name, dict(values)) for name, values in self._rows.items()]


def at_most(name: str, values: Sequence[float], bar: float, unit: str) -> Ratio:
    """A figure with the highest allowed value of its median."""
    return Ratio(name, median(values), min(values), max(values), f"≤ {bar:g} {unit}", median(values) <= bar)


def at_least(name: str, values: Sequence[float], bar: float, unit: str) -> Ratio:
    return Ratio(name, median(values), min(values), max(values), f"≥ {bar:g} {unit}", median(values) >= bar)
