"""Row 30: there is no stock. Required: no retry; the hold is voided within 2 s."""

from tests.faults.proxied import ProxiedSystem


def test_missing_stock_voids_the_hold_at_once(proxied: ProxiedSystem) -> None:
    """With the default delays, a retry or a wait for the next poll would take longer than 2 s."""
    scarce = proxied.stack.product(stock=10)
    with proxied.other("orchestrator", RETRY_BASE_S="3", POLL_INTERVAL_S="5"):
        order = proxied.ended(proxied.order(product=scarce, quantity=11))
    assert (order.status, order.failure and order.failure.code) == ("FAILED", "insufficient_stock")
    calls = [(call.operation, call.statuses) for call in proxied.proxy.calls()]
    assert calls[-5:] == [
        ("create_order", [201]), ("reserve", [409]), ("void", [200]), ("release", [200]), ("cancel_order", [200]),
    ]  # fmt: skip
    assert len(calls) == 7, "no call was repeated"
    (refused, voided) = proxied.proxy.calls("reserve", "void")
    assert (voided.ended_at or 0) - refused.arrived_at < 2
    assert proxied.stock(scarce) == 10
    assert proxied.movements(order) == ["authorize", "void"]
    proxied.settle()
