"""Part 13, pages: each page of the console among 1,000 and 1,000,000 orders.

The orders are those of the test that no statement reads a whole table (tests/database/crowd.py): one client has all,
every fourth failed, and each has a refund, a note, an attempt, webhooks and rows in the books of all services. A
console with one worker reads the pages, one after the other.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import psycopg2
import requests

from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.growth import ONE_WORKER
from benchmarks.ledger import percentile
from benchmarks.processes import ALL, CONSOLE, System
from benchmarks.result import Part
from common.database.transaction import Transaction
from ops import operators
from tests.database.crowd import fill, fill_record, fill_refunds, known_id

SIZES, SHORT_SIZES = (1_000, 1_000_000), (100, 1_000)
LOOKS, SHORT_LOOKS = 20, 3  # at each page in a round
SLOWEST_MS = 100
ORDER, FAILED, PRODUCT, USER = known_id("order", 5), known_id("order", 8), known_id("product", 5), known_id("row", 5)
PAGES = {
    "overview": "/",
    "overview, refreshed": "/overview/live",
    "overview, charts": "/charts/day",
    "orders": "/orders",
    "orders: status=FAILED": "/orders?status=FAILED",
    "orders: status=COMPLETED": "/orders?status=COMPLETED",
    "orders: status=AUTHORIZED": "/orders?status=AUTHORIZED",
    "orders: of a client": "/orders?client=shop",
    "orders: of a user": f"/orders?user_id={USER}",
    "orders: an e-mail address that all have": "/orders?email=a@b.example",
    "orders: needs attention": "/orders?needs_attention=true",
    "orders: refunded": "/orders?refund_status=full",
    "orders: FAILED, and one e-mail address": "/orders?status=FAILED&email=a@b.example",
    "orders: of a time": "/orders?created_from=2020-01-01&created_before=2100-01-01",
    "search: an order": f"/search?q={ORDER}",
    "search: a request id": "/search?q=r5",
    "search: an e-mail address that all have": "/search?q=a@b.example",
    "search: nothing": "/search?q=nothing-has-this-id",
    "one order": f"/orders/{ORDER}",
    "one failed order": f"/orders/{FAILED}",
    "attention": "/attention",
    "products": "/products",
    "one product": f"/products/{PRODUCT}",
    "webhooks": "/webhooks",
    "one endpoint": "/webhooks/we_1",
    "one endpoint: failed deliveries": "/webhooks/we_1?status=failed",
    "jobs": "/jobs",
    "one job": f"/jobs/{known_id('order', 1)}",
    "before a job: the number of orders": "/jobs/new?action=retry&status=FAILED",
    "keys": "/keys",
    "audit": "/audit",
    "record": "/record",
    "record: of an operator": "/record?actor=ada",
}
LATER = ("orders", "orders: status=FAILED", "record", "jobs")
"""Lists whose next page is read, too."""
NEXT = re.compile('<a rel="next"[^>]* href="([^"]+)"')
NOTES = (
    "few, many: the slowest in twenty of each page, until its last byte, among 1,000 and 1,000,000 orders.",
    "Each database was analyzed after it was filled.",
)


@dataclass(frozen=True, eq=False)
class Place:
    url: str
    browser: requests.Session

    def pages(self) -> Iterator[tuple[str, str]]:
        """The name and the path of each page."""
        for name, path in PAGES.items():
            yield name, path
            if name in LATER:
                found = NEXT.search(self.browser.get(self.url + path, timeout=30).text)
                assert found, f"{name} has one page only"
                yield f"{name}, the next page", unescape(found[1])

    def ms(self, path: str, looks: int) -> list[float]:
        return [self._ms(path) for _ in range(looks)]

    def _ms(self, path: str) -> float:
        began = time.perf_counter()
        answer = self.browser.get(self.url + path, timeout=30, allow_redirects=False)
        took_ms = (time.perf_counter() - began) * 1000
        expected = (200, 303) if path.startswith("/search") else (200,)  # a search that finds one order leads to it
        if answer.status_code not in expected:
            raise RuntimeError(f"GET {path} was answered {answer.status_code}")
        return took_ms


def run(bench: Bench) -> Part:
    figures = Figures()
    with ExitStack() as stack:
        few, many = (stack.enter_context(_place(bench, size)) for size in (SHORT_SIZES if bench.short else SIZES))
        for number in range(bench.rounds):
            bench.say(f"pages: round {number + 1} of {bench.rounds}")
            for column, place in (("few", few), ("many", many)):
                for name, path in place.pages():
                    ms = place.ms(path, SHORT_LOOKS if bench.short else LOOKS)
                    figures.add(name, **{column: percentile(ms, 95)})
    return Part(
        key="pages",
        title="Pages: the console among 1,000,000 orders",
        columns={"few": "ms", "many": "ms"},
        rows=figures.rows(),
        ratios=[at_most(each.name, each.values["many"], SLOWEST_MS, "ms") for each in figures.rows()],
        notes=NOTES,
    )


@contextmanager
def _place(bench: Bench, orders: int) -> Iterator[Place]:
    url = bench.database_url()
    bench.say(f"pages: filling a database with {orders:,} orders")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def sql(statement: str, **params: Any) -> None:
            cursor.execute(statement, params or None)

        sql("SET synchronous_commit = off")
        fill(sql, finished=orders, elsewhere=orders)
        fill_refunds(sql, last=orders)
        fill_record(sql, last=orders)
        key = operators.create(Transaction(cursor), "bench", "admin")
    folder = Path(tempfile.mkdtemp(prefix="pages-", dir=bench.folder))
    with System(url, folder, ONE_WORKER) as system, requests.Session() as browser:
        system.start(*ALL[:-1], CONSOLE)  # no orchestrator: what is due stays due
        origin = {"Sec-Fetch-Site": "same-origin"}
        browser.post(f"{system.url(CONSOLE)}/sign-in", data={"key": key}, headers=origin, timeout=10)
        yield Place(system.url(CONSOLE), browser)
