"""The result of a part: plain data from which the tables, the JSON and the charts are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Row:
    """One measured thing."""

    name: str
    values: Mapping[str, Sequence[float]]
    """One value per round by column; columns without values are missing."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of two figures of the same run, so that the machine's speed cancels out."""

    name: str
    value: float
    low: float
    high: float
    bar: str = ""
    """The required value, such as `≥ 8 ×`; empty if there is none."""
    holds: bool | None = None


@dataclass(frozen=True)
class Bars:
    """A chart with a bar for each row's median in this column; a whisker spans the rounds."""

    column: str


@dataclass(frozen=True)
class Lines:
    """A chart of lines. Each point has one value per round: the median is drawn and the spread shaded."""

    x_label: str
    y_label: str
    lines: Mapping[str, Mapping[float, Sequence[float]]]
    """Values of y, one per round, by name and x."""
    log_x: bool = False
    log_y: bool = False
    dashed: Sequence[str] = ()
    """Lines that were not measured: an ideal, a bar."""


@dataclass(frozen=True)
class Part:
    key: str
    title: str
    columns: Mapping[str, str]
    """Units by column, as in `{"sagas": "sagas/s"}`; `""` means no unit."""
    rows: Sequence[Row]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = ()
    """Sentences about the settings, and about what was not measured and why."""
    charts: Mapping[str, Bars | Lines] = field(default_factory=dict)
    """Charts by title; each becomes a file `<key>-<number>.svg`."""


def ratio(name: str, over: Sequence[float], under: Sequence[float], at_least: float | None = None) -> Ratio:
    """`over` divided by `under`, round by round. `at_least`: the required median."""
    each = [a / b for a, b in zip(over, under, strict=True)]
    value = median(each)
    bar, holds = ("", None) if at_least is None else (f"≥ {at_least:g} ×", value >= at_least)
    return Ratio(name, value, min(each), max(each), bar, holds)
