"""Row 83: the database restarts while requests and sagas are in flight. Required: they release their claims as
soon as it answers, so that a repeated key and each order continue without waiting for a lease.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.severable import Severable
from tests.waiting import eventually

REQUESTS = 6
LONG_LEASE = {"LEASE_S": "3600", "ABANDONED_AFTER_S": "3600"}
"""A wait for the lease would fail the test."""
LOST = "cannot save it, the claim will be given back"


@contextmanager
def stopped_database(stack: SharedStack) -> Iterator[None]:
    os.kill(stack.server.pid, signal.SIGQUIT)  # as in a crash
    stack.server.stop()
    yield
    stack.server.start()


def repeats_until_accepted(stack: SharedStack, key: str, product: str) -> None:
    eventually(lambda: stack.post_order(key, product).status_code == 202)


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(REQUESTS) as threads:
        yield threads


def test_repeated_key_continues_when_the_database_is_back(stack: SharedStack, clients: ThreadPoolExecutor) -> None:
    """The requests fail after the payment's authorization: there is no database to save it."""
    stack.restart("web", **LONG_LEASE)
    stack.restart("payments_service", MOCK_LATENCY_MS="500")
    product = stack.product()
    keys = [f"order {number}" for number in range(REQUESTS)]
    answers: list[Future[requests.Response]] = [clients.submit(stack.post_order, key, product) for key in keys]
    eventually(lambda: stack.count("order_ledger") == REQUESTS)
    with stopped_database(stack):
        assert {answer.result().status_code for answer in answers} == {503}
    for key in keys:
        repeats_until_accepted(stack, key, product)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": REQUESTS}


def test_sagas_continue_when_the_database_is_back(stack: SharedStack) -> None:
    """Their calls return while it is down: there is no database to save the answers."""
    stack.end(*ORCHESTRATORS)
    stack.restart("orders_service", "inventory_service")
    stack.backlog(REQUESTS, [stack.product()])
    stack.restart("payments_service", MOCK_LATENCY_MS="500")
    stack.start("orchestrator.1", **LONG_LEASE)
    eventually(lambda: stack.by_status() == {"INVENTORY_RESERVED": REQUESTS})
    told = stack.log("orchestrator.1").count(LOST)
    with stopped_database(stack):
        eventually(lambda: stack.log("orchestrator.1").count(LOST) >= told + REQUESTS)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": REQUESTS}
    claims = stack.sql("SELECT max(unproductive_claims) FROM order_ledger")
    assert claims == [(0,)]


def test_claim_whose_answer_was_lost_is_released(stack: SharedStack) -> None:
    """The batch is claimed, and the connection is lost before the orchestrator learns which orders it got."""
    way = Severable(stack.server.url)
    stack.end(*ORCHESTRATORS)
    try:
        stack.backlog(REQUESTS, [stack.product()])
        way.cut_after("unproductive_claims + 1")
        stack.start("orchestrator.1", DATABASE_URL=way.url, **LONG_LEASE)
        eventually(lambda: way.was_cut)
        stack.settle()
    finally:
        stack.end("orchestrator.1")
        way.stop()
    assert stack.by_status() == {"COMPLETED": REQUESTS}
