"""Part 6, contention: all orders are for the same product, or for one of fifty in turn.

All orders for one product wait for one row, its stock. Both cases are measured in turn in the same running system.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.bench import Bench
from benchmarks.figures import Figures
from benchmarks.result import Bars, Part, ratio
from benchmarks.shop import Shop, open_shop

CLIENTS = 16  # the number of the edge's threads
PRODUCTS = 50
HOT, SPREAD = "one product", f"{PRODUCTS} products"


def run(bench: Bench) -> Part:
    figures = Figures()
    with open_shop(bench, PRODUCTS) as shop:
        shop.start_orchestrator()
        shop.wait()
        for number in range(bench.rounds):
            bench.say(f"contention: round {number + 1} of {bench.rounds}")
            _measure(figures, SPREAD, shop, bench.short)
            _measure(figures, HOT, replace(shop, products=shop.products[:1]), bench.short)
    return Part(
        key="contention",
        title="Contention: one product in all orders, against fifty",
        columns={"completed": "orders/s", "post_p50": "ms", "post_p99": "ms", "ms_p50": "ms", "ms_p99": "ms"},
        rows=figures.rows(),
        ratios=[
            ratio("orders completed a second: one product / fifty", *_both(figures, "completed")),
            ratio("POST to COMPLETED, p50: one product / fifty", *_both(figures, "ms_p50")),
        ],
        notes=[
            f"{CLIENTS} clients post as fast as they are answered; ms: POST to COMPLETED, mostly waiting in the queue."
        ],
        charts={"Orders completed a second": Bars("completed")},
    )


def _measure(figures: Figures, row: str, shop: Shop, short: bool) -> None:
    done = shop.order(0.3 if short else 5, clients=CLIENTS)
    figures.add(row, completed=done.per_second)
    figures.add_latency(row, post=done.load.ms, ms=done.ms)


def _both(figures: Figures, column: str) -> tuple[list[float], list[float]]:
    return figures.of(HOT, column), figures.of(SPREAD, column)
