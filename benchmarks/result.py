"""What a part of the benchmark found: plain data, from which the tables, the JSON and the charts are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Row:
    """One thing measured."""

    name: str
    values: Mapping[str, Sequence[float]]
    """By column: one value a round; empty where this thing has no such value."""


@dataclass(frozen=True)
class Ratio:
    """What is to be read: a figure between two things of the same run, so that the machine's speed drops out."""

    name: str
    value: float
    low: float
    high: float
    bar: str = ""
    """What is asked of it, as in `≥ 8 ×`; empty where nothing is."""
    holds: bool | None = None


@dataclass(frozen=True)
class Bars:
    """A chart: a bar for each row, as long as its median in this column; a whisker spans the rounds."""

    column: str


@dataclass(frozen=True)
class Lines:
    """A chart: lines through points. Each point has a value for every round: the median is drawn, the spread shaded."""

    x_label: str
    y_label: str
    lines: Mapping[str, Mapping[float, Sequence[float]]]
    """By name: x → the rounds' values of y."""
    log_x: bool = False
    log_y: bool = False
    dashed: Sequence[str] = ()
    """Lines that were not measured: an ideal, a bar."""


@dataclass(frozen=True)
class Part:
    key: str
    title: str
    columns: Mapping[str, str]
    """Column → unit, as in `{"sagas": "sagas/s"}`; a unit of `""` has none."""
    rows: Sequence[Row]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = ()
    """Sentences: which settings were used, what was not measured and why."""
    charts: Mapping[str, Bars | Lines] = field(default_factory=dict)
    """Title → chart; each becomes a file of its own, `<key>-<number>.svg`."""


def ratio(name: str, over: Sequence[float], under: Sequence[float], at_least: float | None = None) -> Ratio:
    """How many times `under` goes into `over`, round by round. `at_least`: the bar for the median."""
    each = [a / b for a, b in zip(over, under, strict=True)]
    value = median(each)
    bar, holds = ("", None) if at_least is None else (f"≥ {at_least:g} ×", value >= at_least)
    return Ratio(name, value, min(each), max(each), bar, holds)
