"""Row 41: an unknown product; a price that changes between request and capture.

Required: 422; the price of the request is what is charged.
"""

import uuid

from tests.faults.network_faults import Delay
from tests.faults.proxied import ProxiedSystem


def test_unknown_product_is_refused_and_holds_nothing(proxied: ProxiedSystem) -> None:
    unknown = str(uuid.uuid4())
    answers = [proxied.post("key-1", product=unknown) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].json()["error"] == "unknown_product"
    assert answers[0].json()["details"] == {"product_ids": [unknown]}
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert [call.operation for call in proxied.proxy.calls()] == ["prices"]
    assert proxied.sql("SELECT id FROM order_ledger") == []
    proxied.settle()


def test_frozen_price_is_charged(proxied: ProxiedSystem) -> None:
    """The price is changed once before the authorize and once before the capture."""
    proxied.proxy.on("authorize", times=1, do=Delay(caller_gives_up=True))
    assert proxied.post("key-1", quantity=3).status_code == 503
    proxied.sql("UPDATE products SET price_cents = 900 WHERE id = %(id)s", id=proxied.product)
    proxied.proxy.on("capture", do=(capture := Delay()))
    accepted = proxied.post("key-1", quantity=3).json()
    capture.wait()
    proxied.sql("UPDATE products SET price_cents = 1 WHERE id = %(id)s", id=proxied.product)
    capture.release()

    order = proxied.ended(accepted["order_ledger_id"])
    assert (order.status, order.total_amount_cents) == ("COMPLETED", 1500)
    assert [item.unit_price_cents for item in order.items] == [500]
    payment = proxied.payment(order)
    assert (payment["amount_cents"], payment["captured_amount_cents"]) == (1500, 1500)
    assert len(proxied.proxy.calls("prices")) == 1
    assert proxied.sql("SELECT total_amount_cents FROM orders") == [{"total_amount_cents": 1500}]
    proxied.settle()
