"""What somebody has dealt with is gone everywhere, and back everywhere when it fails again."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from common.database.database import Database
from console import status_statements
from console.context import Console
from console.job_worker import JobWorker
from ops.attention import LIST
from orchestrator.figures import Figures
from tests.audit.small_world import SmallWorld
from tests.console.acting.conftest import Person
from webhooks import alert_statements

Everywhere = Callable[[], dict[str, int]]
REFUND = """
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id, retry_count,
  due_at, needs_attention_at, attention_reason)
VALUES (%(id)s, %(order)s, 'k', 250, false, 'other', 'r', 3, now() + interval '1 h', now(), 'no answer')
"""


@pytest.fixture
def books(url: str) -> Iterator[Database]:
    with closing(Database(url, name="books", size=1)) as database:
        yield database


@pytest.fixture
def everywhere(books: Database, console: Console, ada: Person) -> Everywhere:
    """`everywhere()`: how many entries need attention, by who says so."""

    def read() -> dict[str, int]:
        figures = {each.name: each for each in Figures(books).collect()}
        (alert,) = books.all(alert_statements.ATTENTION)
        (overview,) = console.database.all(status_statements.SNAPSHOT)
        (summary,) = books.all("SELECT needs_attention FROM audit_summary")
        return {
            "the metric": figures["holdfast_needs_attention"].samples[0].value,
            "the alert": alert["count"],
            "ops attention": len(books.all(LIST)),
            "the audit": summary["needs_attention"],
            "the overview": overview["needs_attention"],
            "the page of attention": ada.get("/api/attention").json["open"],
        }

    return read


@pytest.fixture
def of_orders(ada: Person) -> Callable[[], dict[str, Any]]:
    """`of_orders()`: the orders that need attention, for those who look at orders only."""

    def read() -> dict[str, Any]:
        marked = '<tr class="attention">'
        return {
            "the list": len(ada.get("/api/orders", needs_attention="true").json["orders"]),
            "the count of a job": ada.get("/api/jobs/count", needs_attention="true").json["orders"],
            "marked in the list": ada.page("/orders").count(marked),
            "said of each": sum(each["needs_attention"] for each in ada.get("/api/orders").json["orders"]),
        }

    return read


def all_are(number: int, found: dict[str, Any]) -> bool:
    assert set(found.values()) == {number}, found
    return True


def test_order_is_gone_everywhere_until_it_fails_again(
    world: SmallWorld, ada: Person, waiting: str, everywhere: Everywhere, of_orders: Everywhere
) -> None:
    assert all_are(1, everywhere() | of_orders())
    assert ada.post(f"/api/orders/{waiting}/dealt-with", reason="Refunded by hand").status_code == 200
    assert all_are(0, everywhere() | of_orders())
    assert ada.get(f"/api/orders/{waiting}").json["needs_attention"] is False
    world.sql("UPDATE order_ledger SET retry_count = retry_count + 1")
    assert all_are(1, everywhere() | of_orders())
    assert ada.get(f"/api/orders/{waiting}").json["needs_attention"] is True


def test_order_that_was_marked_again_since_is_back(
    world: SmallWorld, ada: Person, waiting: str, everywhere: Everywhere, of_orders: Everywhere
) -> None:
    """As a later step of it failed as often as the former one."""
    assert ada.post(f"/api/orders/{waiting}/dealt-with", reason="Refunded by hand").status_code == 200
    world.sql("UPDATE order_ledger SET needs_attention_at = now() + interval '1 s'")
    assert all_are(1, everywhere() | of_orders())


def test_refund_is_gone_everywhere_until_it_fails_again(
    world: SmallWorld, ada: Person, completed: str, everywhere: Everywhere
) -> None:
    refund = str(uuid.uuid4())
    world.sql(REFUND, id=refund, order=completed)
    assert all_are(1, everywhere())
    assert ada.post(f"/api/refunds/{refund}/dealt-with", reason="Transferred").status_code == 200
    assert all_are(0, everywhere())
    world.sql("UPDATE refunds SET retry_count = retry_count + 1")
    assert all_are(1, everywhere())
    (shown,) = ada.get(f"/api/orders/{completed}").json["refunds"]
    assert shown["needs_attention"] is True


def test_job_on_what_needs_attention_leaves_alone_what_was_dealt_with(
    ada: Person, waiting: str, console: Console
) -> None:
    job = ada.post("/api/jobs", action="retry", reason="why", rate_per_s=50, filter={"needs_attention": True}).json[
        "job_id"
    ]
    assert ada.post(f"/api/orders/{waiting}/dealt-with", reason="Refunded by hand").status_code == 200
    assert JobWorker(console).run_once()
    assert ada.get(f"/api/jobs/{job}").json["done"] == 0
