"""Row 25: every request is sent twice. Required: the same answer, no double effect."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.faults.network_faults import Delay, Repeat
from tests.faults.proxied import ProxiedSystem
from tests.faults.proxy import OPERATIONS, Exchange, Fault
from tests.waiting import eventually

UNHEARD = "tok_unheard"  # the token of the order whose authorize is never answered
HOLDS = """
SELECT p.status, amount_cents FROM payment_authorizations p
JOIN order_ledger l ON idempotency_key = 'authorize:' || l.id WHERE client_request_id = 'abandoned'
"""


class RepeatUnheard(Fault):
    """The participant receives the request twice; the caller gets no answer."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.deliver()
        exchange.deliver()
        exchange.hang_up()


class RepeatLater(Delay):
    """Like `Repeat`, but held back until `release`."""

    def __init__(self, gives: int) -> None:
        super().__init__()
        self._repeat = Repeat(gives)

    def __call__(self, exchange: Exchange) -> None:
        self._hold()
        self._repeat(exchange)


class Shop:
    """Sends everything through the proxy, as our own processes do."""

    def __init__(self, proxied: ProxiedSystem) -> None:
        self._proxied, self._url = proxied, proxied.proxy.url("web")

    def post(self, key: str, **changes: Any) -> requests.Response:
        return self._proxied.post(key, url=self._url, **changes)

    def order(self, **changes: Any) -> str:
        return self._proxied.order(url=self._url, **changes)

    def look(self, order_ledger_id: str) -> dict[str, Any]:
        return dict(requests.get(f"{self._url}/orders/{order_ledger_id}", timeout=30).json())


@pytest.mark.parametrize("gives", [1, 2])
def test_every_request_sent_twice_has_one_effect(proxied: ProxiedSystem, gives: int) -> None:
    """With either of the two answers, and for every way an order can end."""
    proxied.proxy.on("authorize", about=UNHEARD, do=RepeatUnheard())
    proxied.proxy.on("confirm_order", times=1, do=(confirm := RepeatLater(gives)))
    proxied.proxy.on(do=Repeat(gives))
    shop, scarce = Shop(proxied), proxied.stack.product(stock=1)
    cancelled = cancelled_before_its_confirm(proxied, shop, confirm)
    abandoned(proxied, shop)
    sold = [shop.order(quantity=2) for _ in range(5)]
    out_of_stock = [shop.order(quantity=2, product=scarce) for _ in range(3)]
    refused = [shop.order(token="tok_fail_capture") for _ in range(3)]
    assert shop.post("declined", token="tok_decline_stolen").status_code == 402

    orders = {id_: proxied.ended(id_) for id_ in (*sold, *out_of_stock, *refused, cancelled)}
    assert {shop.look(id_)["status"] for id_ in sold} == {"COMPLETED"}
    assert {orders[id_].failure.code for id_ in out_of_stock} == {"insufficient_stock"}
    assert {orders[id_].failure.code for id_ in refused} == {"payment_declined"}
    assert orders[cancelled].failure.code == "invalid_status_transition"
    assert (proxied.stock(), proxied.stock(scarce)) == (990, 1)
    assert {tuple(proxied.movements(orders[id_])) for id_ in sold} == {("authorize", "capture")}
    assert proxied.movements(orders[cancelled]) == ["authorize", "capture", "refund"]
    assert proxied.sql("SELECT count(*) AS n FROM order_ledger") == [
        {"n": len(orders) + len(["abandoned", "declined"])}
    ]
    each_call_was_answered_twice_alike(proxied)
    proxied.settle()


def cancelled_before_its_confirm(proxied: ProxiedSystem, shop: Shop, confirm: RepeatLater) -> str:
    """An order that somebody else cancels after it is paid: it must be refunded."""
    order_ledger_id = shop.order(quantity=3)
    confirm.wait()
    url = f"{proxied.proxy.url('orders_service')}/orders/{proxied.look(order_ledger_id).order_id}/cancel"
    assert requests.put(url, timeout=30).status_code == 200
    confirm.release()
    return order_ledger_id


def abandoned(proxied: ProxiedSystem, shop: Shop) -> None:
    """An order whose authorize is never answered and whose client never returns: its hold is voided by key."""
    assert shop.post("abandoned", token=UNHEARD).status_code == 503
    proxied.sql("UPDATE order_ledger SET due_at = now() WHERE status = 'AWAITING_AUTHORIZATION'")
    eventually(lambda: proxied.proxy.calls("void_by_key"))
    eventually(lambda: not proxied.sql("SELECT FROM order_ledger WHERE status = 'AWAITING_AUTHORIZATION'"))
    answer = shop.post("abandoned", token=UNHEARD)
    assert (answer.status_code, answer.json()["error"]) == (409, "request_abandoned")
    assert proxied.sql(HOLDS) == [{"status": "VOIDED", "amount_cents": 500}]


def each_call_was_answered_twice_alike(proxied: ProxiedSystem) -> None:
    calls = proxied.proxy.calls()
    assert {call.operation for call in calls} == OPERATIONS.keys()
    for call in calls:
        first, second = call.statuses
        assert second == (200 if (call.operation, first) == ("create_order", 201) else first), call
