"""Part 8, retention: what `POST` and claims cost while `python -m ops retain` deletes from 1,000,000 old orders.

A round goes back and forth several times between measuring with and without a running `ops retain`, so that changes of
the machine's speed affect both.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from benchmarks import crowd
from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.growth import CLAIM_LIMIT, DUE, DUE_AGAIN, LEASE_S, ONE_WORKER, SHORT_DUE
from benchmarks.ledger import percentile, query
from benchmarks.processes import ALL, ORCHESTRATOR, System, environ_of, python_of
from benchmarks.result import Part
from benchmarks.shop import Shop
from common.database.database import Database
from orchestrator.store import Store

ORDERS, SHORT_ORDERS = 1_000_000, 2_000
DAYS_AGO, KEPT_DAYS = 100, 90
TURNS, POST_S, CLAIMS = 4, 1.0, 100
BEGINS_WITHIN_S = 30
WITHOUT, WITH = "without", "with `ops retain`"
BAR = 1.5  # times as long, for the slowest in twenty

COLUMNS = {"post_p50": "ms", "post_p95": "ms", "claim_p50": "ms", "claim_p95": "ms", "deleted": "orders/s"}
NOTES = (
    f"{ORDERS:,} finished orders, {DAYS_AGO} days old, and {DUE:,} due retries; RETAIN_ORDERS_DAYS={KEPT_DAYS}.",
    "POST: one client after the other. A claim: the orchestrator's statement for 8 entries. No orchestrator runs.",
    "deleted: orders that went while POST and claims were measured, with everything that belongs to them.",
)


@dataclass(frozen=True)
class Place:
    shop: Shop
    store: Store
    folder: Path
    orders: int

    def reset(self) -> None:
        """Make all due retries due again."""
        with closing(psycopg2.connect(self.shop.database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(DUE_AGAIN)

    def deleted(self) -> int:
        ((count,),) = query(self.shop.database_url, "SELECT count(*) FROM refused_requests")
        return int(count)

    @contextmanager
    def retaining(self, bench: Bench) -> Iterator[None]:
        """Run `ops retain`, from its first batch to the end of the block."""
        environ = environ_of(bench.checkout, self.shop.database_url) | {"RETAIN_ORDERS_DAYS": str(KEPT_DAYS)}
        before = self.deleted()
        with (self.folder / "retain.log").open("ab") as log:
            command = [str(python_of(bench.checkout)), "-m", "ops", "retain"]
            process = subprocess.Popen(command, cwd=bench.checkout, env=environ, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + BEGINS_WITHIN_S
            while self.deleted() == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            yield
            assert bench.short or process.poll() is None, "ops retain ended while POST was measured"
        finally:
            process.kill()
            process.wait()


def run(bench: Bench) -> Part:
    figures = Figures()
    with _place(bench) as place:
        for number in range(bench.rounds):
            bench.say(f"retention: round {number + 1} of {bench.rounds}, {place.deleted():,} orders are gone")
            _round(bench, figures, place)
    return Part(
        key="retention",
        title=f"Retention: deleting from {ORDERS:,} orders while others are placed",
        columns=COLUMNS,
        rows=figures.rows(),
        ratios=[
            at_most(f"{name}, p95: with / without", _times(figures, column), BAR, "×")
            for name, column in (("POST", "post_p95"), ("a claim", "claim_p95"))
        ],
        notes=NOTES,
    )


@contextmanager
def _place(bench: Bench) -> Iterator[Place]:
    """Place one real order and multiply it."""
    url, folder = bench.database_url(), Path(tempfile.mkdtemp(prefix="retention-", dir=bench.folder))
    orders, due = (SHORT_ORDERS, SHORT_DUE) if bench.short else (ORDERS, DUE)
    with System(url, folder, ONE_WORKER) as system, closing(Database(url, name="bench", size=1)) as database:
        system.start(*ALL)
        shop = Shop(system, url, system.add_products(1))
        shop.order(1, rate=1)
        system.stop(ORCHESTRATOR)
        system.stop("orders_service")
        bench.say(f"retention: filling a database with {orders:,} old orders")
        crowd.fill(url, orders, due, DAYS_AGO)
        yield Place(shop, Store(database, "bench", LEASE_S), folder, orders)


def _round(bench: Bench, figures: Figures, place: Place) -> None:
    ms: dict[str, dict[str, list[float]]] = {side: {"post": [], "claim": []} for side in (WITHOUT, WITH)}
    rates = []
    place.reset()
    for _ in range(1 if bench.short else TURNS):
        for side in (WITHOUT, WITH):
            with ExitStack() as stack:
                if side == WITH:
                    stack.enter_context(place.retaining(bench))
                gone, began = place.deleted(), time.monotonic()
                ms[side]["post"] += place.shop.send(0.2 if bench.short else POST_S).ms
                ms[side]["claim"] += _claims(place.store, 5 if bench.short else CLAIMS)
                if side == WITH:
                    rates.append((place.deleted() - gone) / (time.monotonic() - began))
    for side, each in ms.items():
        found = {f"{name}_p{share}": percentile(values, share) for name, values in each.items() for share in (50, 95)}
        figures.add(side, **found)
    figures.add(WITH, deleted=sum(rates) / len(rates))


def _claims(store: Store, times: int) -> list[float]:
    """Milliseconds of each claim."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        assert store.claim(CLAIM_LIMIT), "there were too few due retries to claim"
        found.append((time.perf_counter() - began) * 1000)
    return found


def _times(figures: Figures, column: str) -> list[float]:
    pairs = zip(figures.of(WITH, column), figures.of(WITHOUT, column), strict=True)
    return [with_ / without for with_, without in pairs]
