"""Row 50: the client gives up while the gateway is slow, then sends the same key.

Required: the request continues where it stopped, instead of 409 forever.
"""

from __future__ import annotations

import pytest
import requests

from tests.faults.network_faults import Delay
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually


@pytest.fixture
def slow(proxied: ProxiedSystem) -> Delay:
    """A client has given up; its authorize is still in flight."""
    proxied.proxy.on("authorize", nth=1, do=(slow := Delay()))
    with pytest.raises(requests.ReadTimeout):
        proxied.post("key-1", timeout=0.2)
    slow.wait()
    busy = proxied.post("key-1")
    assert (busy.status_code, busy.json()["error"]) == (409, "request_in_progress")
    assert int(busy.headers["Retry-After"]) >= 1
    return slow


def test_late_answer_is_kept_for_the_client(proxied: ProxiedSystem, slow: Delay) -> None:
    slow.release()
    answer = eventually(lambda: accepted(proxied))
    assert answer.headers["Idempotency-Replayed"] == "true"
    completes_with_one_hold(proxied, answer)
    assert len(proxied.proxy.calls("authorize")) == 1


def test_next_request_retries_after_a_gateway_timeout(proxied: ProxiedSystem, slow: Delay) -> None:
    slow.abandon()
    answer = eventually(lambda: accepted(proxied))
    completes_with_one_hold(proxied, answer)
    assert [call.statuses for call in proxied.proxy.calls("authorize")] == [[], [200]]


def test_next_request_takes_over_an_overdue_one(proxied: ProxiedSystem, slow: Delay) -> None:
    """After 30 s, longer than any request can take. The late call arrives in the end and changes nothing."""
    proxied.end_leases()
    answer = eventually(lambda: accepted(proxied))
    assert "Idempotency-Replayed" not in answer.headers
    slow.release()
    first, second = proxied.proxy.calls("authorize")
    eventually(lambda: first.ended_at)
    assert (first.statuses, second.statuses) == ([200], [200])
    assert first.body == second.body
    completes_with_one_hold(proxied, answer)


def accepted(proxied: ProxiedSystem) -> requests.Response | None:
    answer = proxied.post("key-1")
    return answer if answer.status_code == 202 else None


def completes_with_one_hold(proxied: ProxiedSystem, answer: requests.Response) -> None:
    order = proxied.ended(answer.json()["order_ledger_id"])
    assert order.status == "COMPLETED"
    assert len(proxied.sql("SELECT id FROM order_ledger")) == 1
    assert len(proxied.sql("SELECT id FROM payment_authorizations")) == 1
    assert proxied.post("key-1").content == answer.content
    proxied.settle()
