"""Part 11, deliveries: what one webhook endpoint costs an order.

The same running system takes orders with and without an endpoint, in turn. An nginx receives the events and answers at
once; its processor time is not counted. The time runs until every order has ended and every event has been delivered.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import requests

from benchmarks.bench import Bench
from benchmarks.credentials import API_KEY
from benchmarks.figures import Figures, at_most
from benchmarks.ledger import query
from benchmarks.patience import until
from benchmarks.processes import cpu_seconds
from benchmarks.result import Part
from benchmarks.shop import Shop, open_shop
from benchmarks.stub import Stub

CLIENTS = 8
PRODUCTS = 50
SECONDS, SHORT_SECONDS = 4, 0.3
WITHOUT, WITH = "without an endpoint", "with one endpoint"
AT_MOST = 1.2  # times the processor time
ALL_DELIVERED_WITHIN_S = 300
UNDELIVERED = """
SELECT 1 FROM events WHERE xid > %s::text::xid8 AND NOT EXISTS (
  SELECT FROM webhook_deliveries AS delivery WHERE event_id = events.id AND delivery.status = 'succeeded'
) LIMIT 1
"""
NEWEST = "SELECT COALESCE(max(xid::text::bigint), 0)::text FROM events"
NOTES = (
    f"{CLIENTS} clients post as fast as they are answered; default settings. Two events of each order are delivered.",
    "cpu: of all processes, `webhooks` too, and of PostgreSQL, by the number of orders.",
)


def run(bench: Bench) -> Part:
    figures = Figures()
    folder = Path(tempfile.mkdtemp(prefix="receiver-", dir=bench.folder))
    with (
        Stub(folder) as receiver,
        open_shop(bench, PRODUCTS, WEBHOOK_ALLOW_NETWORKS="127.0.0.1") as shop,
    ):
        shop.system.start("webhooks")
        shop.start_orchestrator()
        shop.wait()
        for number in range(bench.rounds):
            bench.say(f"deliveries: round {number + 1} of {bench.rounds}")
            for side in (WITHOUT, WITH) if number % 2 else (WITH, WITHOUT):
                with _endpoint(shop, f"{receiver.url}/orders") if side == WITH else nullcontext():
                    _measure(figures, side, bench, shop)
    cpu = [dear / cheap for dear, cheap in zip(figures.of(WITH, "cpu"), figures.of(WITHOUT, "cpu"), strict=True)]
    return Part(
        key="deliveries",
        title="Deliveries: an order with and without a webhook endpoint",
        columns={"completed": "orders/s", "cpu": "ms/order"},
        rows=figures.rows(),
        ratios=[at_most("CPU of an order: with one endpoint / without", cpu, AT_MOST, "×")],
        notes=NOTES,
    )


@contextmanager
def _endpoint(shop: Shop, url: str) -> Iterator[None]:
    """An endpoint for all events from now on. On exit, wait until they are delivered."""
    id_ = _ask(shop, "POST", "/webhook_endpoints", {"url": url, "event_types": ["*"]})["id"]
    yield
    _ask(shop, "DELETE", f"/webhook_endpoints/{id_}")


def _measure(figures: Figures, side: str, bench: Bench, shop: Shop) -> None:
    pids = (*shop.system.pids.values(), bench.server.pid)
    before, newest = sum(map(cpu_seconds, pids)), query(shop.database_url, NEWEST)[0][0]
    done = shop.order(SHORT_SECONDS if bench.short else SECONDS, clients=CLIENTS)
    if side == WITH:
        until(lambda: not query(shop.database_url, UNDELIVERED, newest), ALL_DELIVERED_WITHIN_S, "all are delivered")
    used = sum(map(cpu_seconds, pids)) - before
    figures.add(side, completed=done.per_second, cpu=used / len(done.completed) * 1000)


def _ask(shop: Shop, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    answer = requests.request(method, shop.system.url("web") + path, json=body, headers=headers, timeout=10)
    answer.raise_for_status()
    return answer.json() if answer.content else None
