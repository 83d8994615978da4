"""Draw the charts, one SVG file each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.report import number
from benchmarks.result import Bars, Lines, Part

OURS, OTHERS, WHISKER, GRID = "#0b6e6e", "#a9b4bd", "#37424a", "#dfe4e8"
COLOURS = (OURS, "#c8553d", "#5b7db1", "#8a6fb0", "#9aa53a", "#6b6b6b")
NAME = "Holdfast"
WIDTH_IN = 8.0
STYLE: Any = {
    "font.size": 10,
    "svg.fonttype": "none",  # keeps text as text: small, searchable files
    "svg.hashsalt": "holdfast",  # makes the file reproducible
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(part: Part, folder: Path) -> list[Path]:
    """Draw a part's charts into `folder`. :returns: the files"""
    files = []
    for position, (title, chart) in enumerate(part.charts.items(), 1):
        file = folder / f"{part.key}-{position}.svg"
        with mpl.rc_context(STYLE):
            figure = _bars(part, chart) if isinstance(chart, Bars) else _lines(chart)
            figure.axes[0].set_title(title, loc="left", fontweight="bold")
            figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
        files.append(file)
    return files


def _bars(part: Part, chart: Bars) -> Figure:
    rows = [row for row in part.rows if row.values.get(chart.column)]
    values = [row.values[chart.column] for row in rows]
    medians = [median(each) for each in values]
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.36 * len(rows)))
    axes = figure.subplots()
    axes.barh(
        range(len(rows)),
        medians,
        color=_colours([row.name for row in rows]),
        xerr=[
            [middle - min(each) for middle, each in zip(medians, values, strict=True)],
            [max(each) - middle for middle, each in zip(medians, values, strict=True)],
        ],
        error_kw={"ecolor": WHISKER, "capsize": 3, "elinewidth": 1},
    )
    for place, each in enumerate(values):
        axes.annotate(
            number(medians[place]), (max(each), place), xytext=(6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, max(max(each) for each in values) * 1.12)
    axes.set_xlabel(f"{part.columns[chart.column]}: median, and lowest to highest of the rounds")
    return figure


def _colours(names: Sequence[str]) -> list[str]:
    """Give Holdfast its own colour if there are others."""
    is_compared = any(name.startswith(NAME) for name in names)
    return [OTHERS if is_compared and not name.startswith(NAME) else OURS for name in names]


def _lines(chart: Lines) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 4.2))
    axes = figure.subplots()
    for colour, (name, points) in zip(COLOURS * len(chart.lines), chart.lines.items(), strict=False):
        _line(axes, name, points, colour, is_ideal=name in chart.dashed)
    xs = sorted({x for points in chart.lines.values() for x in points})
    if chart.log_x:
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:,}" for x in xs])
        axes.minorticks_off()
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.legend(frameon=False)
    return figure


def _line(axes: Any, name: str, points: Any, colour: str, *, is_ideal: bool) -> None:
    xs = sorted(points)
    if is_ideal:
        axes.plot(xs, [median(points[x]) for x in xs], "--", color=WHISKER, linewidth=1, label=name)
        return
    axes.plot(xs, [median(points[x]) for x in xs], "o-", color=colour, markersize=4, label=name)
    axes.fill_between(xs, [min(points[x]) for x in xs], [max(points[x]) for x in xs], color=colour, alpha=0.18, lw=0)
