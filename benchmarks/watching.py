"""Part 12, watching: what metrics cost an order, and what the console costs that is open on its overview in five tabs.

Three systems run side by side, each on a database of its own with 1,000,000 orders. They take orders in turn, in short
bursts: a burst alone is off by a tenth. So is a system from its start to its end, so each round starts new ones. A
system is watched only while it takes orders, so that it does not slow down the others.
"""

from __future__ import annotations

import http
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg2
import requests

from benchmarks import lists
from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_least, at_most
from benchmarks.processes import CONSOLE, ORCHESTRATOR, WEB, System, cpu_seconds
from benchmarks.result import Part, Ratio
from benchmarks.shop import Shop
from common.database.transaction import Transaction
from ops import operators

ORDERS, SHORT_ORDERS = 1_000_000, 100  # that have ended before
CLIENTS, PRODUCTS = 8, 50
SECONDS, SHORT_SECONDS = 3, 0.3
BURSTS, SHORT_BURSTS = 6, 1  # of each system in a round
TABS, TAB_EVERY_S = 5, 5.0  # as the page asks
SCRAPE_EVERY_S = 5.0  # Prometheus does it every 15 s or more rarely
PLAIN, METRICS, TABS_OPEN = "nobody watches", "metrics, scraped in each burst", f"the console, open in {TABS} tabs"
NAMES = (PLAIN, METRICS, TABS_OPEN)
AT_LEAST, CPU_AT_MOST = 0.97, 1.03
NOTES = (
    f"{CLIENTS} clients post as fast as they are answered, for {SECONDS} s; default settings. The time runs until every"
    " order has ended.",
    "cpu: of all processes of the system and of PostgreSQL, by the number of orders. It includes the console's own.",
    "A ratio is taken in each round, of the medians of its bursts.",
)


@dataclass(frozen=True, eq=False)
class Side:
    shop: Shop
    looks: Callable[[], None] = lambda: None
    """Look once, as whoever watches does."""
    every_s: float = 0
    watchers: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._over.clear()
        with ThreadPoolExecutor(max(1, self.watchers)) as pool:
            watching = [pool.submit(self._watch, number) for number in range(self.watchers)]
            try:
                yield
            finally:
                self._over.set()
            for each in watching:
                each.result()  # raises what a look has raised

    def _watch(self, number: int) -> None:
        """The tabs were opened one after the other."""
        pause_s = self.every_s * number / self.watchers
        while not self._over.wait(pause_s):
            self.looks()
            pause_s = self.every_s


def run(bench: Bench) -> Part:
    figures = Figures()
    orders = SHORT_ORDERS if bench.short else ORDERS
    bench.say(f"watching: filling a database with {orders:,} orders")
    first = bench.database_url()
    lists.fill(first, orders)
    urls = dict(zip(NAMES, (bench.copy_of(first), bench.copy_of(first), first), strict=True))
    for number in range(bench.rounds):
        bench.say(f"watching: round {number + 1} of {bench.rounds}")
        with ExitStack() as stack:
            sides = {name: stack.enter_context(_side(bench, name, urls[name])) for name in _turned(NAMES, number)}
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
            for burst in range(SHORT_BURSTS if bench.short else BURSTS):
                for name in _turned(list(sides), burst)[:: 1 if burst % 2 else -1]:
                    found[name].append(_measure(bench, sides[name]))
        for name, bursts in found.items():
            per_second, cpu = (median(values) for values in zip(*bursts, strict=True))
            figures.add(name, completed=per_second, cpu=cpu)
    return Part(
        key="watching",
        title="Watching: orders with metrics, and with the console open",
        columns={"completed": "orders/s", "cpu": "ms/order"},
        rows=figures.rows(),
        ratios=[ratio for name in (METRICS, TABS_OPEN) for ratio in _ratios(figures, name)],
        notes=NOTES,
    )


def _turned(names: Sequence[str], by: int) -> list[str]:
    """The same names, beginning with another one, so that each comes first, second and third equally often."""
    turn = by % len(names)
    return [*names[turn:], *names[:turn]]


@contextmanager
def _side(bench: Bench, name: str, url: str) -> Iterator[Side]:
    folder = Path(tempfile.mkdtemp(prefix="watching-", dir=bench.folder))
    with System(url, folder, checkout=bench.checkout, has_metrics=name == METRICS) as system:
        system.start(*WEB, ORCHESTRATOR, *((CONSOLE,) if name == TABS_OPEN else ()))
        shop = Shop(system, url, system.add_products(PRODUCTS))
        shop.order(SHORT_SECONDS if bench.short else 1, clients=CLIENTS)
        if name == METRICS:
            yield Side(shop, lambda: _scrape(system), SCRAPE_EVERY_S, 1)
        elif name == TABS_OPEN:
            with _tab(system, url) as look:
                yield Side(shop, look, TAB_EVERY_S, TABS)
        else:
            yield Side(shop)


def _scrape(system: System) -> None:
    for name in (*WEB, ORCHESTRATOR):
        requests.get(system.metrics_url(name), timeout=10).raise_for_status()


@contextmanager
def _tab(system: System, url: str) -> Iterator[Callable[[], None]]:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        key = operators.create(Transaction(cursor), "bench", "viewer")
    connection.close()
    with requests.Session() as session:
        origin = {"Sec-Fetch-Site": "same-origin"}
        session.post(f"{system.url(CONSOLE)}/sign-in", data={"key": key}, headers=origin, timeout=10)
        yield lambda: _refresh(session, system.url(CONSOLE))


def _refresh(session: requests.Session, url: str) -> None:
    answer = session.get(f"{url}/overview/live", timeout=10, allow_redirects=False)
    if answer.status_code != http.HTTPStatus.OK:
        raise RuntimeError(f"the overview was answered {answer.status_code}")


def _measure(bench: Bench, side: Side) -> tuple[float, float]:
    pids = (*side.shop.system.pids.values(), bench.server.pid)
    before = sum(map(cpu_seconds, pids))
    with side.watched():
        done = side.shop.order(SHORT_SECONDS if bench.short else SECONDS, clients=CLIENTS)
    used = sum(map(cpu_seconds, pids)) - before
    return done.per_second, used / len(done.completed) * 1000


def _ratios(figures: Figures, name: str) -> Iterator[Ratio]:
    def each(column: str) -> list[float]:
        pairs = zip(figures.of(name, column), figures.of(PLAIN, column), strict=True)
        return [watched / plain for watched, plain in pairs]

    yield at_least(f"{name}: orders completed a second / without", each("completed"), AT_LEAST, "×")
    yield at_most(f"{name}: CPU of an order / without", each("cpu"), CPU_AT_MOST, "×")
