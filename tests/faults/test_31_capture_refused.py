"""Row 31: the capture is refused permanently. Required: released, cancelled, voided."""

from tests.faults.proxied import ProxiedSystem


def test_refused_capture_undoes_everything(proxied: ProxiedSystem) -> None:
    order = proxied.ended(proxied.order(token="tok_fail_capture", quantity=3))
    assert (order.status, order.failure and order.failure.code) == ("FAILED", "payment_declined")
    calls = [(call.operation, call.statuses) for call in proxied.proxy.calls()]
    assert calls[-6:] == [
        ("create_order", [201]), ("reserve", [201]), ("capture", [402]),
        ("void", [200]), ("release", [200]), ("cancel_order", [200]),
    ]  # fmt: skip
    assert proxied.stock() == 1000
    assert proxied.movements(order) == ["authorize", "void"]
    assert proxied.sql("SELECT status FROM orders") == [{"status": "CANCELLED"}]
    assert [entry.status for entry in order.timeline][-3:] == ["COMPENSATING", "COMPENSATING", "FAILED"]
    proxied.settle()
