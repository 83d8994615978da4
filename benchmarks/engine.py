"""Part 1, engine: sagas a second of the real orchestrator, of its peers, and of bare loops as the limit.

One saga is four calls to a stub that answers at once. Except for the limits, each step's outcome is committed before
the next step begins. The workers are running and warm when N sagas are committed at once; the time is measured from
there until the last one has ended. N is what a contender completes in about ROUND_S.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.bench import Bench
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.holdfast import Holdfast
from benchmarks.contenders.limits import LeanLimit, UsualLimit
from benchmarks.contenders.peers import ALL, CHAINS, Dbos, PgQueuerUsual
from benchmarks.patience import until
from benchmarks.peers.environment import peers_python
from benchmarks.result import Bars, Part, Ratio, Row, ratio
from benchmarks.stub import Stub

ROUND_S = 6
PATIENCE_S = 120
# The first opens connections and lets Python specialise its bytecode; the second finds how many sagas fill a round.
WARM_UPS = (40, 120)
SHORT = 12
PROCESSES = (1, 2)
IN_WORDS = {1: "one process", 2: "two processes"}
RATE, WORKERS, STORE = "rate", "CPU of the workers", "CPU of the store"
COLUMNS = {RATE: "sagas/s", WORKERS: "ms a saga", STORE: "ms a saga"}


class WrongCount(Exception):
    """A contender did not make the calls of its sagas. The message is one line."""


@dataclass(frozen=True)
class Run:
    """A contender with a number of processes: one row of the table."""

    contender: Contender
    processes: int

    @property
    def name(self) -> str:
        return _name(self.contender, self.processes)


def _name(contender: Contender | type[Any], processes: int) -> str:
    return f"{contender.name}, {IN_WORDS[processes]}"


def run(bench: Bench) -> Part:
    with Stub(bench.folder / "stub") as stub, ExitStack() as held:
        contenders = [held.enter_context(closing(each)) for each in _contenders(bench, stub)]
        values = _alternately(bench, [Run(each, processes) for each in contenders for processes in PROCESSES])
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


def _contenders(bench: Bench, stub: Stub) -> Iterator[Contender]:
    yield Holdfast(bench, stub)
    if bench.ours_only:
        return
    if bench.peers:
        bench.say("engine: creating the peers' environment if it is missing, which takes a minute")
        python = peers_python(bench.peers)
        for kind in ALL:
            yield kind(bench, stub, python)
    yield UsualLimit(bench, stub)
    yield LeanLimit(bench, stub)


def _alternately(bench: Bench, runs: Sequence[Run]) -> dict[str, dict[str, list[float]]]:
    """Measure each run once per round, so that a change of the machine's speed affects all of them."""
    values: dict[str, dict[str, list[float]]] = {each.name: {} for each in runs}
    sizes: dict[str, int] = {}
    for number in range(bench.rounds):
        for each in runs:
            figures = _measure(each, sizes, short=bench.short)
            bench.say(f"engine, round {number + 1}: {each.name}: {figures[RATE]:.0f} sagas/s")
            for column, value in figures.items():
                values[each.name].setdefault(column, []).append(value)
    return values


def _measure(each: Run, sizes: dict[str, int], *, short: bool) -> dict[str, float]:
    each.contender.start(each.processes)
    try:
        if short:
            return timed(each.contender, SHORT)
        rates = [timed(each.contender, sagas)[RATE] for sagas in WARM_UPS]
        sizes.setdefault(each.name, round(rates[-1] * ROUND_S))
        return timed(each.contender, sizes[each.name])
    finally:
        each.contender.stop()


def timed(contender: Contender, sagas: int) -> dict[str, float]:
    """Submit this many sagas, wait for the last one, and return the figures by column.

    :raises WrongCount: if the stub was not called four times for each
    """
    answered = contender.stub.answered()
    contender.put(sagas)
    began, workers, store = time.monotonic(), contender.running.cpu_s(), contender.store_cpu_s()
    until(contender.has_done_all, PATIENCE_S, f"{sagas} sagas of {contender.name}")
    seconds = time.monotonic() - began
    answered = contender.stub.answered() - answered
    if answered != 4 * sagas:
        raise WrongCount(f"{contender.name} made {answered} calls for {sagas} sagas of four")
    return {
        RATE: sagas / seconds,
        WORKERS: (contender.running.cpu_s() - workers) / sagas * 1000,
        STORE: (contender.store_cpu_s() - store) / sagas * 1000,
    }


def _ratios(rates: Mapping[str, Sequence[float]]) -> list[Ratio]:
    """:param rates: sagas a second of each round, by name of the row"""
    ours = {processes: rates[_name(Holdfast, processes)] for processes in PROCESSES}
    if _name(LeanLimit, 2) not in rates:
        return [ratio("two processes / one process", ours[2], ours[1])]
    ratios = [
        ratio("two processes / limit (b), two processes", ours[2], rates[_name(LeanLimit, 2)], 0.6),
        ratio("one process / limit (a), one process", ours[1], rates[_name(UsualLimit, 1)], 1.2),
        ratio("two processes / one process", ours[2], ours[1]),
    ]
    if _name(Dbos, 2) not in rates:
        return ratios
    best = max(CHAINS, key=lambda kind: median(rates[_name(kind, 2)]))
    return [
        ratio("two processes / DBOS, two processes", ours[2], rates[_name(Dbos, 2)], 8),
        ratio(f"two processes / best chain of jobs ({best.name}), two processes", ours[2], rates[_name(best, 2)], 4),
        ratio(f"two processes / {PgQueuerUsual.name}, two processes", ours[2], rates[_name(PgQueuerUsual, 2)]),
        *ratios,
    ]
