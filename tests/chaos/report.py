"""The output of a run: a line of progress, then a page of figures."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.chaos.figures import Figures
from tests.chaos.findings import AUDIT, CHANGED, DOUBLED, LEFT, LOST, OPEN, RUN, STOP, WRONG, Finding
from tests.chaos.options import PACE, Options
from tests.chaos.plan import HANGS_S, LOCKED_S

LINE_EVERY_S = 5  # without a terminal
SHOWN = 25  # findings; findings.jsonl has all of them
KINDS = (LOST, DOUBLED, CHANGED, WRONG, OPEN, AUDIT, RUN, LEFT, STOP)


class Progress:
    """One changing line on a terminal; otherwise an occasional new line."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._next_at = 0.0

    def show(self, line: str) -> None:
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r\x1b[K{line[:width]}")
            sys.stdout.flush()
        elif time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + LINE_EVERY_S
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def end(self) -> None:
        if self._is_terminal:
            sys.stdout.write("\r\x1b[K")
        self._next_at = 0.0


def show(figures: Figures, options: Options, pace: Mapping[str, str], folder: Path) -> None:
    """Print the page."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    for name, text in _rows(figures):
        grid.add_row(name, text)
    console = new_console()
    console.print("", grid, "", sep="\n")
    show_findings(figures.findings, console)
    console.print(
        f"again  {command(options, pace)}\nlogs   {folder}", soft_wrap=True
    )  # no line breaks, so that it can be copied


def _rows(figures: Figures) -> list[tuple[str, str]]:
    kills = {name: sum(ways.values()) for name, ways in figures.kills.items()}
    ways: dict[str, int] = {}
    for each in figures.kills.values():
        for way, number in each.items():
            ways[way] = ways.get(way, 0) + number
    rate = figures.orders / figures.storm_s if figures.storm_s else 0
    return [
        ("seed", str(figures.seed)),
        ("orders", f"{figures.orders}, {rate:.1f} a second; {figures.given_up} clients gave up"),
        ("storm", f"{figures.storm_s:.0f} s, then {figures.quiet_s:.1f} s of quiet until all had ended"),
        ("kills", f"{sum(kills.values())}: {_list(kills)}\n{_list(ways)}"),
        ("database", f"{figures.restarts} crashes, down for up to {figures.longest_restart_s:.1f} s"),
        ("frozen", f"an orchestrator or webhooks {figures.freezes} times, for longer than its lease"),
        ("gateway", f"hung {figures.hangs} times, for up to {HANGS_S[1]:.0f} s"),
        *_gateway(figures.gateway),
        ("products", f"{figures.locks} locks, for up to {LOCKED_S[1]:.0f} s"),
        ("poisoned", f"{figures.poisoned} entries, {figures.marked} of them marked before the cause was removed"),
        ("network", f"{sum(figures.mishaps.values())} calls failed: {_list(figures.mishaps)}"),
        ("answers", _list(figures.answers)),
        ("ended", "\n".join(f"{number:>6}  {state}" for state, number in sorted(figures.states.items()))),
        ("cancelled", _list(figures.cancels)),
        ("refunds", f"{_list(figures.refunds)}; {figures.restocked} put pieces back"),
        ("events", f"{figures.events}; received: {_list(figures.deliveries)}"),
        ("receiver", f"killed {figures.receiver_deaths} times; by its staff: {_list(figures.staff)}"),
        ("operators", _list(figures.operators)),
        ("to arrive", _spread(figures.delivery_s, "events")),
        ("to settle", _spread(figures.settle_s)),
        ("in quiet", _spread(figures.settle_in_quiet_s)),
        ("audit", f"{figures.audit_rows} rows at the end; {figures.audits_in_storm} audits in the storm"),
        ("promises", ", ".join(f"{figures.count(kind)} {kind}" for kind in KINDS[:5])),
    ]


def _gateway(gateway: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not gateway:
        return []
    money = {name: number for name, number in gateway.items() if name != "faults"}
    return [("its books", _list(money)), ("its faults", _list(gateway["faults"]))]


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items(), key=lambda item: -item[1]))


def _spread(spread: Mapping[str, float], of: str = "orders") -> str:
    if not spread.get("n"):
        return "none"
    times = ", ".join(f"{name} {spread[name]:.2f} s" for name in ("p50", "p99", "max"))
    return f"{spread['n']:.0f} {of}: {times}"


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings, the worst first, and the verdict."""
    if findings:
        table = Table("Wrong", "Subject", "What", box=box.SIMPLE_HEAD, show_edge=False)
        for finding in sorted(findings, key=lambda each: KINDS.index(each.kind))[:SHOWN]:
            table.add_row(Text(finding.kind, "red"), finding.subject, finding.detail)
        if len(findings) > SHOWN:
            table.add_row("", "", f"and {len(findings) - SHOWN} more: see findings.jsonl")
        console.print(table, "", sep="\n")
        console.print(Text(f"{len(findings)} promises were not kept.", "bold red"))
    else:
        console.print(Text("Every promise was kept.", "bold green"))


def command(options: Options, pace: Mapping[str, str]) -> str:
    """The command that repeats the run, with all options that differ from their defaults."""
    words = ["make chaos"]
    for each in fields(options):
        value = getattr(options, each.name)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if text != each.metadata["default"]:
            words.append(f"{each.name.upper()}={text}")
    words += [f"{name}={pace[name]}" for name in PACE if pace.get(name)]
    return " ".join(words)


def new_console() -> Console:
    return Console(highlight=False)
