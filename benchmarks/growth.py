"""Part 5, growth: the same work in databases with 1,000, 100,000 and 1,000,000 finished orders.

Each also has 10,000 due retries and its own Edge API. A round visits the three several times, a little each time, so
that changes of the machine's speed affect all of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg2

from benchmarks import crowd
from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.ledger import query
from benchmarks.load import get
from benchmarks.processes import ALL, ORCHESTRATOR, System
from benchmarks.result import Lines, Part, Ratio
from benchmarks.shop import Shop
from common.database.database import Database
from orchestrator.store import Store

SIZES, SHORT_SIZES = (1_000, 100_000, 1_000_000), (100, 1_000)
DUE, SHORT_DUE = 10_000, 200
TURNS = 5  # how often a round visits each size
CLAIM_LIMIT = 8  # what an orchestrator claims when half of its threads are free
LEASE_S = 30
ONE_WORKER = {"WEB_CONCURRENCY": "1"}  # three systems run at once, for one client
FLAT = 1.1  # "within 10 %"

COLUMNS = {
    "claims": "claims/s",
    "claim": "ms",
    "post_p50": "ms",
    "post_p99": "ms",
    "get_p50": "ms",
    "get_p99": "ms",
    "size": "bytes/order",
}

# Ids from all over the table. They begin with a time, and there is one finished order for each millisecond.
SOME_ORDERS = f"""
SELECT (SELECT id FROM order_ledger WHERE id >= place AND status = 'COMPLETED' ORDER BY id LIMIT 1)::text
FROM (SELECT rpad(lpad(to_hex(first + floor(random() * %s)::bigint), 12, '0'), 32, '0')::uuid AS place
  FROM (SELECT {crowd.MILLISECONDS.format("id")} AS first
    FROM order_ledger ORDER BY id LIMIT 1) AS oldest, generate_series(1, %s)) AS places
"""

# Make the claimed entries due again, but not the posted ones, which would add to them.
DUE_AGAIN = """
UPDATE order_ledger SET claimed_by = NULL, claimed_until = NULL, unproductive_claims = 0,
  due_at = now() + CASE status WHEN 'ORDER_CREATED' THEN interval '-1 minute' ELSE interval '1 day' END
WHERE due_at IS NOT NULL
"""
TIDY_UP = "VACUUM (INDEX_CLEANUP ON) order_ledger"  # as autovacuum would after this many changes

NOTES = (
    f"Each database also has {DUE:,} due retries.",
    f"claims, claim: the orchestrator's own statement, {CLAIM_LIMIT} entries a claim, one connection.",
    "post, get: one client at the Edge API, orders read from all over the table; the orchestrator is stopped, because "
    "it would process the retries.",
    "size: all tables and indexes in which an order leaves rows, just after the insert: no old row versions, but the "
    "space that some tables reserve for new ones.",
    "The finished orders are copies of a real one, with ids of their own.",
)


@dataclass(frozen=True, eq=False)
class Place:
    """A database with a number of finished orders, and the system that runs on it."""

    finished: int
    shop: Shop
    store: Store
    bytes_an_order: float

    @property
    def name(self) -> str:
        return f"{self.finished:,} finished orders"

    def reset(self) -> None:
        with closing(psycopg2.connect(self.shop.database_url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(DUE_AGAIN)
            cursor.execute(TIDY_UP)

    def claim_ms(self, times: int) -> float:
        """Milliseconds of one claim by the orchestrator's statement while enough is due."""
        before = time.perf_counter()
        claimed = sum(len(self.store.claim(CLAIM_LIMIT)) for _ in range(times))
        assert claimed == times * CLAIM_LIMIT, "there were too few due retries to claim"
        return (time.perf_counter() - before) / times * 1000

    def post_ms(self, seconds: float) -> list[float]:
        return self.shop.send(seconds).ms

    def get_ms(self, orders: int) -> list[float]:
        ids = [each for (each,) in query(self.shop.database_url, SOME_ORDERS, self.finished, orders) if each]
        return get(self.shop.system.url("web"), [f"/orders/{each}" for each in ids]).ms


def run(bench: Bench) -> Part:
    figures = Figures()
    with ExitStack() as stack:
        sizes = SHORT_SIZES if bench.short else SIZES
        places = [stack.enter_context(_place(bench, finished)) for finished in sizes]
        for number in range(bench.rounds):
            bench.say(f"growth: round {number + 1} of {bench.rounds}")
            _round(figures, places, bench.short)
    return Part(
        key="growth",
        title="Growth: the same work with more and more finished orders",
        columns=COLUMNS,
        rows=figures.rows(),
        ratios=_ratios(figures, places),
        notes=NOTES,
        charts={"A claim, a POST and a GET by finished orders": _chart(figures, places)},
    )


@contextmanager
def _place(bench: Bench, finished: int) -> Iterator[Place]:
    """Place one real order and multiply it."""
    url, due = bench.database_url(), SHORT_DUE if bench.short else DUE
    bench.say(f"growth: filling a database with {finished:,} finished orders")
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=bench.folder))
    with System(url, folder, ONE_WORKER) as system, closing(Database(url, name="bench", size=1)) as database:
        system.start(*ALL)
        shop = Shop(system, url, system.add_products(1))
        shop.order(1, rate=1)
        system.stop(ORCHESTRATOR)
        system.stop("orders_service")
        bytes_an_order = crowd.fill(url, finished, due)
        yield Place(finished, shop, Store(database, "bench", LEASE_S), bytes_an_order)


def _round(figures: Figures, places: Sequence[Place], short: bool) -> None:
    turns, claims, post_s, reads = (1, 5, 0.2, 20) if short else (TURNS, 200, 0.5, 100)
    claim_ms, post_ms, get_ms = ({place: list[float]() for place in places} for _ in range(3))
    for place in places:
        place.reset()
    for _ in range(turns):
        for place in places:
            claim_ms[place].append(place.claim_ms(claims))
            post_ms[place] += place.post_ms(post_s)
            get_ms[place] += place.get_ms(reads)
    for place in places:
        claim = median(claim_ms[place])
        figures.add(place.name, claims=1000 / claim, claim=claim, size=place.bytes_an_order)
        figures.add_latency(place.name, post=post_ms[place], get=get_ms[place])


def _ratios(figures: Figures, places: Sequence[Place]) -> list[Ratio]:
    small, large = places[0].name, places[-1].name
    named = {"claim": "time of a claim", "post_p50": "POST, p50", "get_p50": "GET, p50", "size": "bytes an order"}
    return [
        at_most(f"{name}: {large} / {small}", _times(figures, column, large, small), FLAT, "×")
        for column, name in named.items()
    ]


def _times(figures: Figures, column: str, over: str, under: str) -> list[float]:
    pairs = zip(figures.of(over, column), figures.of(under, column), strict=True)
    return [large / small for large, small in pairs]


def _chart(figures: Figures, places: Sequence[Place]) -> Lines:
    columns = {"claim": "a claim", "post_p50": "POST, p50", "get_p50": "GET, p50"}
    lines = {
        name: {float(place.finished): figures.of(place.name, column) for place in places}
        for column, name in columns.items()
    }
    return Lines("finished orders", "ms", lines, log_x=True)
