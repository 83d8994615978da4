"""Part 1, engine: sagas a second of the real orchestrator, of its peers, and of bare loops that are the limit.

One saga is four calls to a stub that answers at once; for all but the limits, each step's outcome is committed before
the next is begun. The workers run and are warm; then N sagas are committed at once, and the time is taken from there
until the last has ended. N is what a contender does in about ROUND_S.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.holdfast import Holdfast
from benchmarks.contenders.limits import LeanLimit, UsualLimit
from benchmarks.patience import until
from benchmarks.result import Bars, Part, Ratio, Row, ratio
from benchmarks.stub import Stub

ROUND_S = 6
PATIENCE_S = 120
# The first makes connections and lets Python specialise its bytecode, the second tells how many sagas fill a round.
WARM_UPS = (40, 120)
SHORT = 12
PROCESSES = (1, 2)
IN_WORDS = {1: "one process", 2: "two processes"}
RATE, WORKERS, STORE = "rate", "CPU of the workers", "CPU of the store"
COLUMNS = {RATE: "sagas/s", WORKERS: "ms a saga", STORE: "ms a saga"}


class WrongCount(Exception):
    """A contender did not make the calls that its sagas consist of. The message is one line."""


@dataclass(frozen=True)
class Run:
    """A contender with so many processes: what gets a row."""

    contender: Contender
    processes: int

    @property
    def name(self) -> str:
        return f"{self.contender.name}, {IN_WORDS[self.processes]}"


def run(bench: Bench) -> Part:
    with Stub(bench.folder / "stub") as stub:
        contenders: list[Contender] = [kind(bench, stub.url) for kind in (Holdfast, UsualLimit, LeanLimit)]
        runs = [Run(contender, processes) for contender in contenders for processes in PROCESSES]
        values = _alternately(bench, runs, stub)
    rows = [Row(name, columns) for name, columns in values.items()]
    return Part(
        key="engine",
        title="Engine: sagas of four durable steps, participants that answer at once",
        columns=COLUMNS,
        rows=rows,
        ratios=_ratios({row.name: row.values[RATE] for row in rows}),
        notes=[f"{contender.name}: {contender.setting}" for contender in contenders],
        charts={"Sagas a second": Bars(RATE)},
    )


def _alternately(bench: Bench, runs: Sequence[Run], stub: Stub) -> dict[str, dict[str, list[float]]]:
    """Each run once a round, so that a machine that slows down slows all of them down."""
    values: dict[str, dict[str, list[float]]] = {each.name: {} for each in runs}
    sizes: dict[str, int] = {}
    for number in range(bench.rounds):
        for each in runs:
            figures = _measure(each, sizes, stub, short=bench.short)
            bench.say(f"engine, round {number + 1}: {each.name}: {figures[RATE]:.0f} sagas/s")
            for column, value in figures.items():
                values[each.name].setdefault(column, []).append(value)
    return values


def _measure(each: Run, sizes: dict[str, int], stub: Stub, *, short: bool) -> dict[str, float]:
    each.contender.start(each.processes)
    try:
        if short:
            return timed(each.contender, SHORT, stub)
        rates = [timed(each.contender, sagas, stub)[RATE] for sagas in WARM_UPS]
        sizes.setdefault(each.name, round(rates[-1] * ROUND_S))
        return timed(each.contender, sizes[each.name], stub)
    finally:
        each.contender.stop()


def timed(contender: Contender, sagas: int, stub: Stub) -> dict[str, float]:
    """Hand in so many sagas, wait for the last, and say what that cost, by column.

    :raises WrongCount: where the stub was not called four times for each
    """
    answered, workers, store = stub.answered(), contender.running.cpu_s(), contender.store_cpu_s()
    contender.put(sagas)
    began = time.monotonic()
    until(contender.is_done, PATIENCE_S, f"{sagas} sagas of {contender.name}")
    seconds = time.monotonic() - began
    answered = stub.answered() - answered
    if answered != 4 * sagas:
        raise WrongCount(f"{contender.name} made {answered} calls for {sagas} sagas of four")
    return {
        RATE: sagas / seconds,
        WORKERS: (contender.running.cpu_s() - workers) / sagas * 1000,
        STORE: (contender.store_cpu_s() - store) / sagas * 1000,
    }


def _ratios(rates: dict[str, Sequence[float]]) -> list[Ratio]:
    one, two = (rates[f"{Holdfast.name}, {IN_WORDS[processes]}"] for processes in PROCESSES)
    return [
        ratio("two processes / limit (b), two processes", two, rates["Limit (b), two processes"], 0.6),
        ratio("one process / limit (a), one process", one, rates["Limit (a), one process"], 1.2),
        ratio("two processes / one process", two, one),
    ]
