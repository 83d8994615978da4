"""The results as Markdown tables for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import median

from benchmarks.result import Part, Ratio, Row

HOLDS = {True: "met", False: "NOT MET", None: ""}


@dataclass(frozen=True)
class Report:
    began: str
    rounds: int
    short: bool
    machine: Mapping[str, str]
    costs: Mapping[str, Sequence[float]]
    """The speed of the machine, at the start and at the end."""
    parts: Sequence[Part]
    failures: Mapping[str, str]
    """Parts that could not be measured, with the reason."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        return "\n".join(_lines(self)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Benchmark of {report.began}, {report.rounds} rounds"
    if report.short:
        yield from ("", "**The short form shows that everything works. Its figures mean nothing.**")
    yield ""
    costs = [(name, " → ".join(number(value) for value in values)) for name, values in report.costs.items()]
    yield from _table(["machine", ""], [*report.machine.items(), *costs])
    for part in report.parts:
        yield from ("", f"## {part.title}", "")
        yield from _part(part, short=report.short)
    for key, reason in report.failures.items():
        yield from ("", f"## {key}: not measured", "", reason)


def _part(part: Part, *, short: bool) -> Iterator[str]:
    for position, (columns, rows) in enumerate(groupby(part.rows, lambda row: _columns(row, part))):
        yield from [""] if position else []
        yield from _table(["", *columns.values()], [[row.name, *_cells(row, columns)] for row in rows])
    if part.ratios:
        yield ""
        yield from _table(
            ["ratio", "median (lowest – highest)", "bar", ""], [_ratio_cells(each, short=short) for each in part.ratios]
        )
    if part.notes:
        yield ""
        yield from (f"- {note}" for note in part.notes)


def _columns(row: Row, part: Part) -> dict[str, str]:
    """Heads of the columns in which the row has values. Rows with the same columns form a table."""
    return {
        column: f"{column}, {unit}" if unit else column
        for column, unit in part.columns.items()
        if row.values.get(column)
    }


def _cells(row: Row, columns: Mapping[str, str]) -> list[str]:
    return [spread(row.values.get(column, ())) for column in columns]


def _ratio_cells(ratio: Ratio, *, short: bool) -> list[str]:
    value = f"{number(ratio.value)} ({number(ratio.low)} – {number(ratio.high)})"
    return [ratio.name, value, ratio.bar, "" if short else HOLDS[ratio.holds]]


def spread(values: Sequence[float]) -> str:
    """The median, with the lowest and highest if there were several rounds."""
    if len(values) < 2:
        return number(values[0]) if values else "–"
    return f"{number(median(values))} ({number(min(values))} – {number(max(values))})"


def number(value: float) -> str:
    """Three significant digits: no figure here is more precise."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(3, *(len(line[number]) for line in (heads, *rows))) for number in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    yield line(heads)
    yield line(["-" * width for width in widths])
    yield from (line(row) for row in rows)
