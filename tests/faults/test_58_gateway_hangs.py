"""Row 58: the gateway hangs. Required: other requests are served; new orders are refused before any write."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import requests

from common.calls.breaker import OPENS_AFTER
from tests.faults.network_faults import Delay, DropRequest
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually

THREADS = 8
SLOTS = 6  # a quarter of the threads stays free
ONE_WORKER = {"WEB_CONCURRENCY": "1", "WEB_THREADS": str(THREADS)}


@pytest.fixture
def web(proxied: ProxiedSystem) -> Iterator[str]:
    with proxied.other("web", **ONE_WORKER) as web:
        yield web


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def done(answers: list[Future[requests.Response]]) -> list[requests.Response]:
    return [answer.result() for answer in answers if answer.done()]


@pytest.mark.parametrize("operation", ["authorize", "prices"])
def test_hanging_service_holds_only_a_share_of_the_threads(
    proxied: ProxiedSystem, web: str, background: ThreadPoolExecutor, operation: str
) -> None:
    before = proxied.post("before", web=web)
    proxied.proxy.on(operation, do=(hanging := Delay()))
    answers = [background.submit(proxied.post, f"key-{number}", web=web) for number in range(3 * THREADS)]
    eventually(lambda: len(done(answers)) == 3 * THREADS - SLOTS)
    refused = done(answers)
    assert {(answer.status_code, answer.json()["error"]) for answer in refused} == {(503, "busy")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)

    for _ in range(THREADS):
        url = proxied.stack.url(web) + before.headers["Location"]
        assert requests.get(url, timeout=5).status_code == 200
        assert proxied.post("before", web=web, timeout=5).content == before.content
    assert not any(call.ended_at for call in proxied.proxy.calls(operation)[-SLOTS:]), "it hung all the time"
    if operation == "authorize":
        assert proxied.open_orders() + proxied.sql("SELECT count(*) AS n FROM outbox")[0]["n"] >= SLOTS
        assert len(proxied.sql("SELECT id FROM order_ledger")) == 1 + SLOTS, "the refused ones wrote nothing"

    hanging.release()
    assert sorted(answer.result().status_code for answer in answers) == [202] * SLOTS + [503] * (len(answers) - SLOTS)
    eventually(lambda: {proxied.post(f"key-{n}", web=web).status_code for n in range(len(answers))} == {202})
    proxied.settle()


def test_silent_gateway_is_probed_and_not_hammered(proxied: ProxiedSystem, web: str) -> None:
    proxied.proxy.on("authorize", do=DropRequest())
    answers = [proxied.post(f"key-{number}", web=web) for number in range(5 * OPENS_AFTER)]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(503, "gateway_error")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    calls = proxied.proxy.calls("authorize")
    assert OPENS_AFTER <= len(calls) < 2 * OPENS_AFTER
    assert len(proxied.sql("SELECT id FROM order_ledger")) == len(calls), "a refused order was written"

    unknown = proxied.post("unknown", web=web, product=str(uuid.uuid4()))
    assert unknown.status_code == 422, "this needs no gateway"
    proxied.proxy.heal()
    eventually(lambda: {proxied.post(f"key-{n}", web=web).status_code for n in range(len(answers))} == {202})
    proxied.settle()
