"""Row 59: the edge dies during a request. Required: the client is told that nothing is held, not a decline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults.network_faults import Delay, DelayAnswer
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually


@pytest.mark.parametrize("fault", [Delay, DelayAnswer], ids=["before the hold", "after the hold"])
def test_an_abandoned_request_is_not_a_declined_card(proxied: ProxiedSystem, fault: type[Delay]) -> None:
    proxied.proxy.on("authorize", nth=1, do=(slow := fault()))
    proxied.stack.start("web.2", ABANDONED_AFTER_S="1", LEASE_S="1")
    with ThreadPoolExecutor(1) as threads:
        broken_off = threads.submit(proxied.post, "key-1", web="web.2")
        slow.wait()
        proxied.stack.kill("web.2")
        with pytest.raises(requests.ConnectionError):
            broken_off.result()
    eventually(lambda: not proxied.open_orders())
    slow.release()

    answers = [proxied.post("key-1") for _ in range(3)]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(409, "request_abandoned")}
    assert len({answer.content for answer in answers}) == 1, "it is final"
    order = proxied.look(answers[0].json()["details"]["order_ledger_id"])
    assert order.status == "AUTHORIZATION_FAILED"
    assert order.failure is not None
    assert order.failure.code == "abandoned"
    assert proxied.post("key-1", quantity=2).json()["error"] == "idempotency_key_reused"
    assert proxied.post("key-2").status_code == 202, "a new order needs a new key"
    proxied.settle()
    assert proxied.sql("SELECT count(*) AS n FROM payment_authorizations WHERE status = 'AUTHORIZED'") == [{"n": 0}]
