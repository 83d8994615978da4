"""Compare this checkout with another one: both are measured in turn, round by round, in one run.

A checkout with its own environment (`.venv`) runs with that interpreter, so two builds of Python can be compared too.
See README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench
from benchmarks.machine import python_build
from benchmarks.processes import python_of
from benchmarks.result import Part, Ratio, Row

KEYS = ("engine", "system", "latency")
THIS, BASE = "this", "base"
Values = dict[tuple[str, str, str], list[float]]
"""Row, column and side → one value per round."""


def run(part: Callable[[Bench], Part], bench: Bench, base: Path) -> Part:
    """Run a part with both checkouts. Its ratios are those of the medians, with the lowest and highest of a round."""
    sides = {
        BASE: replace(bench, rounds=1, checkout=base, ours_only=True),
        THIS: replace(bench, rounds=1, ours_only=True),
    }
    values: Values = {}
    for number in range(bench.rounds):
        # The order changes each round, so that a machine that slows down steadily favours neither.
        for side in (BASE, THIS) if number % 2 else (THIS, BASE):
            bench.say(f"round {number + 1} of {bench.rounds}: {side}")
            found = part(sides[side])
            for row in found.rows:
                for column, measured in row.values.items():
                    values.setdefault((row.name, column, side), []).extend(measured)
    names = {(row, column): None for row, column, _ in values}
    return Part(
        key=found.key,
        title=f"{found.title}: this checkout / base",
        columns=found.columns,
        rows=_rows(values),
        ratios=[
            _ratio(f"{row}: {column}", values[row, column, THIS], values[row, column, BASE]) for row, column in names
        ],
        notes=[f"{side}: Python {python_build(python_of(each.checkout))}" for side, each in sides.items()],
    )


def _rows(values: Values) -> list[Row]:
    rows: dict[str, dict[str, list[float]]] = {}
    for (row, column, side), measured in values.items():
        rows.setdefault(f"{row}, {side}", {})[column] = measured
    return [Row(name, rows[name]) for name in sorted(rows)]


def _ratio(name: str, this: list[float], base: list[float]) -> Ratio:
    each = [a / b for a, b in zip(this, base, strict=True) if b]
    whole = median(this) / median(base) if median(base) else float("nan")
    return Ratio(name, whole, min(each, default=whole), max(each, default=whole))
