"""Row 23: a refund's answer is lost. Required: refunded once."""

from tests.faults.network_faults import Cut, DropAnswer, DropRequest
from tests.faults.proxied import ProxiedSystem


def test_lost_refund_answers_leave_one_refund(proxied: ProxiedSystem) -> None:
    proxied.proxy.on("confirm_order", do=DropRequest())
    proxied.proxy.on("refund", times=3, do=DropAnswer())
    proxied.proxy.on("refund", times=1, do=Cut())
    order = proxied.ended(proxied.order(quantity=3))
    assert order.status == "FAILED"
    refunds = proxied.proxy.calls("refund")
    assert [call.statuses for call in refunds] == [[200]] * 5
    assert len({call.json["idempotency_key"] for call in refunds}) == 1
    assert proxied.sql("SELECT amount_cents FROM payment_refunds") == [{"amount_cents": 1500}]
    assert proxied.movements(order) == ["authorize", "capture", "refund"]
    proxied.settle()
