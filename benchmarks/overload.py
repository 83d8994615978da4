"""Part 7, overload: clients post as fast as they get responses, for a minute. After a 503 they wait as it says.

The time to `COMPLETED` grows until the oldest waiting orders are older than `MAX_BACKLOG_AGE_S`. Then new orders get
503, and the processors are left to the sagas.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.ledger import percentile, reached, wait_until_all_ended
from benchmarks.load import Load, post
from benchmarks.processes import ALL, System
from benchmarks.result import Lines, Part

CLIENTS = 32
PRODUCTS = 50
LIMITS_S = {"without a limit that is reached": 300.0, "with a limit of 2 s": 2.0}
WINDOWS = 6
SLACK_S = 3.0  # the age is measured once a second; orders that were accepted meanwhile are processed first
NOTES = (
    f"{CLIENTS} clients, one product each; default settings except MAX_BACKLOG_AGE_S; fsync on.",
    "Time to COMPLETED: from sending the POST, of the orders sent in each sixth of the run, all but one in twenty.",
)


def run(bench: Bench) -> Part:
    figures = Figures()
    growth: dict[str, dict[float, list[float]]] = {name: {} for name in LIMITS_S}
    seconds = 1.5 if bench.short else 60.0
    for number in range(bench.rounds):
        bench.say(f"overload: round {number + 1} of {bench.rounds}")
        for name, limit_s in LIMITS_S.items():
            load, completed = _orders(bench, seconds, limit_s)
            windows = _windows(load, completed, seconds)
            for at, value in windows.items():
                growth[name].setdefault(at, []).append(value)
            figures.add(
                name,
                accepted=len(load.answers) / seconds,
                completed=len(completed) / (max(completed.values()) - load.began),
                first_p95=windows[min(windows)],
                last_p95=windows[max(windows)],
            )
    limited = "with a limit of 2 s"
    bar = LIMITS_S[limited] + SLACK_S
    return Part(
        key="overload",
        title="Overload: clients post as fast as they are answered",
        columns={
            "accepted": "orders/s",
            "completed": "orders/s",
            "first_p95": "s",
            "last_p95": "s",
        },
        rows=figures.rows(),
        ratios=[at_most(f"time to COMPLETED at the end, {limited}, p95", figures.of(limited, "last_p95"), bar, "s")],
        notes=NOTES,
        charts={"Time to COMPLETED": Lines("second of the run", "s", growth)},
    )


def _orders(bench: Bench, seconds: float, limit_s: float) -> tuple[Load, Mapping[str, float]]:
    """Return the load's answers, and when each accepted order was completed."""
    url, folder = bench.database_url(), Path(tempfile.mkdtemp(prefix="overload-", dir=bench.folder))
    with System(url, folder, {"MAX_BACKLOG_AGE_S": str(limit_s)}) as system:
        system.start(*ALL)
        products = system.add_products(PRODUCTS)
        post(system.url("web"), products, 0.2 if bench.short else 1, clients=8)
        wait_until_all_ended(url, system.check)
        load = post(system.url("web"), products, seconds, clients=CLIENTS)
        wait_until_all_ended(url, system.check)
    when = reached(url, "COMPLETED", load.began)
    return load, {each.order_ledger_id: when[each.order_ledger_id] for each in load.answers}


def _windows(load: Load, completed: Mapping[str, float], seconds: float) -> dict[float, float]:
    """Return the middle of each part of the run, in seconds → the 95th percentile of its times to COMPLETED."""
    length = seconds / WINDOWS
    waits: dict[int, list[float]] = {}
    for each in load.answers:
        part = min(int((each.sent - load.began) / length), WINDOWS - 1)
        waits.setdefault(part, []).append(completed[each.order_ledger_id] - each.sent)
    return {(part + 0.5) * length: _p95(values) for part, values in sorted(waits.items())}


def _p95(values: Sequence[float]) -> float:
    return percentile(values, 95)
