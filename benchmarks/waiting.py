"""Part 4, slow participants: each of the four calls takes 50 ms, during which a thread is idle.

A saga then takes 200 ms, so T threads of one orchestrator can run 5 T sagas a second: the straight line. It bends where
the orchestrator uses all of its core.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.bench import Bench
from benchmarks.contenders.holdfast import Holdfast
from benchmarks.engine import RATE, STORE, WORKERS, timed
from benchmarks.result import Lines, Part, Row
from benchmarks.stub import Stub

DELAY_S = 0.05
STEPS = 4
THREADS = (8, 16, 32, 64, 128, 256)
SHORT_THREADS = (8, 16)
ROUND_S = 5
AT_MOST = 2500  # sagas a round: beyond the bend, the ideal number would take a minute
STRAIGHT = 0.9  # a line counts as straight while each thread keeps this share of the rate at the fewest threads
SHARE = "of the ideal"


def run(bench: Bench) -> Part:
    threads = SHORT_THREADS if bench.short else THREADS
    with Stub(bench.folder / "slow_stub", DELAY_S) as stub:
        contender = Holdfast(bench, stub)
        try:
            values = _alternately(bench, contender, threads)
        finally:
            contender.close()
    return Part(
        key="waiting",
        title=f"Slow participants: {DELAY_S * 1000:g} ms each, one orchestrator process",
        columns={RATE: "sagas/s", SHARE: "%", WORKERS: "ms a saga", STORE: "ms a saga"},
        rows=[Row(f"{count} threads", values[count]) for count in threads],
        notes=[_bend(values, threads), f"The ideal is one saga per thread every {STEPS * DELAY_S * 1000:g} ms."],
        charts={
            "Sagas a second against threads, four calls of 50 ms each": Lines(
                "WORKER_THREADS",
                "sagas/s",
                {
                    "Holdfast, one process": {count: values[count][RATE] for count in threads},
                    "ideal: threads / 200 ms": {count: [ideal(count)] for count in threads},
                },
                log_x=True,
                log_y=True,
                dashed=["ideal: threads / 200 ms"],
            )
        },
    )


def ideal(threads: int) -> float:
    """Return the sagas per second if there were nothing to do but wait."""
    return threads / (STEPS * DELAY_S)


def _alternately(bench: Bench, contender: Holdfast, threads: Sequence[int]) -> dict[int, dict[str, list[float]]]:
    values: dict[int, dict[str, list[float]]] = {count: {} for count in threads}
    for number in range(bench.rounds):
        for count in threads:
            contender.threads = {1: count}
            figures = _measure(contender, count, short=bench.short)
            bench.say(f"waiting, round {number + 1}: {count} threads: {figures[RATE]:.0f} sagas/s")
            for column, value in {**figures, SHARE: figures[RATE] / ideal(count) * 100}.items():
                values[count].setdefault(column, []).append(value)
    return values


def _measure(contender: Holdfast, threads: int, *, short: bool) -> dict[str, float]:
    contender.start(processes=1)
    try:
        timed(contender, threads)  # each thread opens its connections
        return timed(contender, threads if short else min(round(ideal(threads) * ROUND_S), AT_MOST))
    finally:
        contender.stop()


def _bend(values: dict[int, dict[str, list[float]]], threads: Sequence[int]) -> str:
    rates = {count: median(values[count][RATE]) for count in threads}
    fewest = threads[0]
    straight = [count for count in threads if rates[count] / count >= STRAIGHT * rates[fewest] / fewest]
    best = max(threads, key=lambda count: rates[count])
    core = rates[best] * median(values[best][WORKERS]) / 1000
    return (
        f"A straight line up to {straight[-1]} threads: each does at least nine tenths of what one of {fewest} does."
        f" The maximum is {rates[best]:.0f} sagas/s with {best} threads; the process then uses {core:.0%} of a core."
    )
