"""The metrics of all processes agree with the books and with docs/metrics.md, after a sale with killed workers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from common.database.database import Database, Row
from ops.audit import audit
from tests import credentials
from tests.books import violations
from tests.common.ledger.conftest import IN_THE_BOOKS
from tests.system.conftest import place
from tests.system.measured import ALL, Measured, measured
from tests.system.stack import PROJECT, WEB_PROCESSES
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

__all__ = ["measured"]  # a fixture
ORCHESTRATORS = ("orchestrator", "orchestrator.2")
ROW = re.compile(r"^\| `(holdfast_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
ABSENT = ("oldest_due", "oldest_hold", "webhook_oldest_pending")
"""Times of the oldest, of which there is none when all is done."""

# 1,000 orders. The first ones wait until there is an orchestrator, so that half of them can be cancelled.
FIRST, CANCELLED = 20, 10
KINDS = {"tok_visa": 790, "fail_refund": 10, "tok_decline_stolen": 80, "fail_capture": 60}
SOLD_OUT = 40
ORDERS = FIRST + sum(KINDS.values()) + SOLD_OUT
REFUNDS = 10
EXPECTED = {
    "accepted": 920,
    "declined": 80,
    "completed": 810,
    "failed": 100,
    "cancelled": CANCELLED,
    "refunds_succeeded": REFUNDS,
    "refunds_failed": KINDS["fail_refund"],
}
KILLED = (*WEB_PROCESSES, "orchestrator.2", *WEB_PROCESSES, "orchestrator.2", "web")
"""What is killed, one after the other, while orders are placed: a worker of a service, or a whole orchestrator."""
DELIVERED_WITHIN_S = 400
"""On a busy machine, a delivery may fail twice. Then it is tried again after five minutes (webhooks/schedule.py)."""
DELIVERIES = """
SELECT count(*) FILTER (WHERE status = 'succeeded') AS succeeded, COALESCE(sum(attempts), 0)::integer AS attempts,
  (SELECT count(*) FROM events) AS events FROM webhook_deliveries
"""


@pytest.fixture
def books(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=1)
    yield database
    database.close()


def test_metrics_of_all_processes_agree_with_the_books(
    measured: Measured, url: str, books: Database, open_orders: Callable[[], int]
) -> None:
    """1,000 orders of all kinds, while workers of all services and an orchestrator are killed."""
    measured.start(*WEB_PROCESSES, "webhooks")
    with Receiver() as receiver, measured.stack.client(api_key=credentials.EDGE_KEY) as client:
        client.create_webhook_endpoint(url=f"{receiver.url}/holdfast")
        product = measured.stack.product(stock=ORDERS)
        first = list(place(measured.stack, product, FIRST).values())
        for id_ in first[:CANCELLED]:
            client.cancel_order(id_, reason="other")
        measured.start(*ORCHESTRATORS)
        placed = sale_with_kills(measured, product, books)
        eventually(lambda: open_orders() == 0, 60)
        for id_ in (*first[CANCELLED : CANCELLED + REFUNDS], *placed["fail_refund"]):
            client.refund(id_, amount_cents=100, reason="other")
        eventually(lambda: in_the_books(books) == EXPECTED, 60)
        eventually(lambda: deliveries(books)["succeeded"] == deliveries(books)["events"], DELIVERED_WITHIN_S)
    assert violations(url) == {}
    assert audit({"DATABASE_URL": url, "APP_ENV": "test"}).total == 0
    for name in ORCHESTRATORS:
        eventually(lambda name=name: in_the_metrics(measured, name) == EXPECTED, 60)
    delivered = deliveries(books)
    eventually(lambda: measured.total("webhook_deliveries_total", "webhooks") == delivered["attempts"])
    assert measured.total("webhook_deliveries_total", "webhooks", "yes") == delivered["succeeded"]
    no_count_of_a_killed_worker_is_lost(measured)
    all_is_done_and_measured(measured)
    all_metrics_are_documented(measured)


def sale_with_kills(measured: Measured, product: str, books: Database) -> dict[str, list[str]]:
    """:returns: the ids of the orders by their payment token"""
    stack = measured.stack
    sold_out = stack.product(stock=0)
    with ThreadPoolExecutor() as shops:
        sales = {token: shops.submit(place, stack, product, count, token=token) for token, count in KINDS.items()}
        late = shops.submit(place, stack, sold_out, SOLD_OUT)
        for number, name in enumerate(KILLED, 1):
            wanted = FIRST + number * (ORDERS - FIRST) // (len(KILLED) + 1)
            eventually(lambda wanted=wanted: entries(books) >= wanted, 120)
            if name in ORCHESTRATORS:
                stack.kill(name)
                measured.start(name)
            else:
                measured.kill_worker(name)
        placed = {token: list(sale.result(120).values()) for token, sale in sales.items()}
        answers = [*chain(*placed.values()), *late.result(120).values()]
    assert len(answers) == ORDERS - FIRST
    assert entries(books) == ORDERS
    return placed


def entries(books: Database) -> int:
    return int(books.all("SELECT count(*) AS orders FROM order_ledger")[0]["orders"])


def in_the_books(books: Database) -> Row:
    return books.all(IN_THE_BOOKS)[0]


def in_the_metrics(measured: Measured, name: str) -> dict[str, float]:
    found = measured.scrape(name)
    counted = {}
    for outcome in EXPECTED:
        of, _, end = outcome.rpartition("_")
        counted[outcome] = found.get(f"{of or 'orders'}_total[('outcome', '{end}')]", -1)
    return counted


def deliveries(books: Database) -> Row:
    return books.all(DELIVERIES)[0]


def no_count_of_a_killed_worker_is_lost(measured: Measured) -> None:
    """An answer is counted before it is sent. There are more than orders, as some that were counted were never sent."""
    name = "http_requests_total"
    assert measured.total(name, "web", "'/orders'", "POST", "2xx") >= EXPECTED["accepted"]
    assert measured.total(name, "web", "'/orders'", "POST", "4xx") >= EXPECTED["declined"]
    assert measured.total(name, "orders_service", "/confirm", "2xx") >= EXPECTED["completed"]
    assert measured.total(name, "inventory_service", "reservations", "POST", "2xx") >= EXPECTED["completed"]
    assert measured.total(name, "payments_service", "/capture/", "2xx") >= EXPECTED["completed"]


def all_is_done_and_measured(measured: Measured) -> None:
    assert measured.total("orders_open", "orchestrator") == measured.total("holds_open", "orchestrator") == 0
    assert measured.total("needs_attention", "orchestrator") == measured.total("audit_violations", "orchestrator") == 0
    assert measured.total("order_duration_seconds_count", "orchestrator") == EXPECTED["completed"]
    assert measured.total("step_duration_seconds_count", "orchestrator", "create_order", "yes") > 0
    assert measured.total("claim_delay_seconds_count", "orchestrator") > 0
    assert measured.total("worker_slots", "orchestrator", "order") == 16
    assert measured.total("listen_up", "orchestrator") == 1
    assert measured.total("call_duration_seconds_count", "web", "payments", "yes") > 0
    assert measured.total("breaker_open", "web") == measured.total("breaker_open", "orchestrator") == 0


def all_metrics_are_documented(measured: Measured) -> None:
    page, missing = listed(), {f"holdfast_{name}_timestamp_seconds" for name in ABSENT}
    assert exported(measured) == {name: about for name, about in page.items() if name not in missing}
    assert missing < set(page)


def listed() -> dict[str, tuple[str, tuple[str, ...]]]:
    """docs/metrics.md: name → type and labels"""
    rows = ROW.findall((PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8"))
    return {name: (kind, tuple(sorted(re.findall(r"`(\w+)`", labels)))) for name, kind, labels in rows}


def exported(measured: Measured) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = {}
    for name in ALL:
        text = requests.get(f"http://127.0.0.1:{measured.ports[name]}/metrics", timeout=10).text
        if promtool := shutil.which("promtool"):
            checked = subprocess.run(
                [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
            )
            assert (checked.returncode, checked.stderr) == (0, ""), name
        for family in text_string_to_metric_families(text):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            full = f"{family.name}_total" if family.type == "counter" else family.name
            found[full] = (family.type, tuple(sorted(labels)))
    return found
