"""Part 3, latency: an otherwise idle system and five orders a second.

The orders are not polled, because that would add load. The times come from the ledger's history and the orders table,
by PostgreSQL's clock, which is also that of the load generator.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.ledger import first_step_begun, reached
from benchmarks.result import Bars, Part
from benchmarks.shop import Shop, open_shop

PER_S = 5
CLIENTS = 4  # connections, so that a slow order does not delay the next
PRODUCTS = 50

POST, BEGUN, COMPLETED = "POST to its response", "AUTHORIZED to the first step begun", "POST to COMPLETED"
NOTES = (
    f"{PER_S} orders a second, evenly spaced, one product each; default settings; fsync on.",
    f"{POST}: from sending it until the whole 202 has arrived.",
    f"{BEGUN}: from the history's time of AUTHORIZED, taken just before the commit, until the orders service begins "
    "the statement that creates the order (orders.created_at). It includes the commit, the notification, the claim, "
    "the call and its parsing by the service.",
    f"{COMPLETED}: from sending it until the history's time of COMPLETED, taken just before the last commit.",
)


def run(bench: Bench) -> Part:
    figures = Figures()
    for number in range(bench.rounds):
        bench.say(f"latency: round {number + 1} of {bench.rounds}")
        with open_shop(bench, PRODUCTS) as shop:
            _round(figures, shop, seconds=2 if bench.short else 20)
    return Part(
        key="latency",
        title=f"Latency: an idle system, {PER_S} orders a second",
        columns={"ms_p50": "ms", "ms_p99": "ms"},
        rows=figures.rows(),
        ratios=[
            at_most(f"{COMPLETED}, p50", figures.of(COMPLETED, "ms_p50"), 20, "ms"),
            at_most(f"{COMPLETED}, p99", figures.of(COMPLETED, "ms_p99"), 60, "ms"),
        ],
        notes=NOTES,
        charts={"Half of the orders are faster than": Bars("ms_p50"), "All but one in a hundred": Bars("ms_p99")},
    )


def _round(figures: Figures, shop: Shop, seconds: float) -> None:
    shop.start_orchestrator()
    shop.wait()
    shop.order(seconds / 10, clients=CLIENTS)  # warms the orchestrator up
    done = shop.order(seconds, clients=CLIENTS, rate=PER_S)
    authorized = reached(shop.database_url, "AUTHORIZED", done.load.began)
    begun = first_step_begun(shop.database_url, done.load.began)
    figures.add_latency(POST, ms=done.load.ms)
    figures.add_latency(BEGUN, ms=[(begun[each] - authorized[each]) * 1000 for each in done.completed])
    figures.add_latency(COMPLETED, ms=done.ms)
