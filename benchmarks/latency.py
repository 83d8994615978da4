"""Part 3, latency: a system that has nothing else to do, and five orders a second.

Nobody asks how far an order is, which would be a load too: the ledger's history and the orders service's table have the
times, by PostgreSQL's clock, which is that of the machine and so of the shop.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.ledger import first_step_begun, reached
from benchmarks.result import Bars, Part
from benchmarks.shop import Shop, open_shop

PER_S = 5
CLIENTS = 4  # connections, so that an order which takes long does not hold up the next
PRODUCTS = 50

POST, BEGUN, COMPLETED = "POST to its answer", "AUTHORIZED to the first step begun", "POST to COMPLETED"
NOTES = (
    f"{PER_S} orders a second, evenly spaced, one product each; the product's own settings; fsync on.",
    f"{POST}: from sending it until the whole 202 is there.",
    f"{BEGUN}: from the history's time of AUTHORIZED, taken just before the commit, until the orders service begins "
    "the statement that makes the order (orders.created_at). The commit, the notification, the claim, the call and "
    "its reading by the service are in it.",
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
    shop.order(seconds / 10, clients=CLIENTS)  # the warm-up of the orchestrator
    done = shop.order(seconds, clients=CLIENTS, rate=PER_S)
    authorized = reached(shop.database_url, "AUTHORIZED", done.load.began)
    begun = first_step_begun(shop.database_url, done.load.began)
    figures.add_latency(POST, ms=done.load.ms)
    figures.add_latency(BEGUN, ms=[(begun[each] - authorized[each]) * 1000 for each in done.completed])
    figures.add_latency(COMPLETED, ms=done.ms)
