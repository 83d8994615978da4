"""A console that is killed in the middle of a job: another one continues, and no order is acted on twice."""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import requests

from common.database.transaction import Transaction
from ops import operators
from tests.system.conftest import place
from tests.waiting import eventually

ORDERS = 30
JOB: dict[str, Any] = {
    "action": "cancel",
    "reason": "other",
    "rate_per_s": 10,
    "filter": {"status": "AUTHORIZED"},
}


@pytest.fixture
def operator_key(url: str) -> str:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        return operators.create(Transaction(cursor), "ada", "operator")


def cancels(url: str, job: str) -> Counter[str]:
    """Order → how often the job has cancelled it, by the record."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT details ->> 'order_ledger_id' FROM operator_log WHERE action = 'order.cancel'"
            " AND details ->> 'job_id' = %s",
            (job,),
        )
        return Counter(order for (order,) in cursor.fetchall())


def test_job_survives_the_death_of_its_console(start, url, operator_key, settle):
    stack = start(orchestrators=0)
    orders = set(place(stack, stack.product(), ORDERS).values())
    stack.start("console.1")
    headers = {"Authorization": f"Bearer {operator_key}", "Idempotency-Key": uuid.uuid4().hex}

    def ask(console: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = requests.request(method, f"{stack.url(console)}{path}", headers=headers, json=body or None, timeout=10)
        assert answer.ok, answer.text
        return dict(answer.json())

    job = ask("console.1", "POST", "/api/jobs", **JOB)["job_id"]
    eventually(lambda: ask("console.1", "GET", f"/api/jobs/{job}")["done"] >= 3)
    stack.kill("console.1")
    acted = len(cancels(url, job))
    assert 3 <= acted < ORDERS
    stack.start("console.2")
    eventually(lambda: ask("console.2", "GET", f"/api/jobs/{job}")["state"] == "done", 60)  # its lease ends first
    assert cancels(url, job) == Counter(orders)
    stack.start("orchestrator.1")
    settle()
    assert stack.stop("console.2") == 0


def test_job_continues_at_once_after_an_orderly_stop(start, url, operator_key):
    stack = start(orchestrators=0)
    orders = set(place(stack, stack.product(), ORDERS).values())
    stack.start("console.1", "console.2")
    headers = {"Authorization": f"Bearer {operator_key}", "Idempotency-Key": uuid.uuid4().hex}
    job = requests.post(f"{stack.url('console.1')}/api/jobs", headers=headers, json=JOB, timeout=10).json()["job_id"]
    eventually(lambda: len(cancels(url, job)) >= 3)
    assert stack.stop("console.1") == 0
    eventually(lambda: len(cancels(url, job)) == ORDERS)
    assert cancels(url, job) == Counter(orders)
