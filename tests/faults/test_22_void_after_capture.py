"""Row 22: an order must be undone after its capture. Required: the money is refunded, not kept."""

from __future__ import annotations

import requests

from tests.faults.network_faults import Delay, DropRequest
from tests.faults.proxied import ProxiedSystem


def test_captured_payment_is_refunded_in_full(proxied: ProxiedSystem) -> None:
    """Every step is done except the confirm, which never arrives."""
    proxied.proxy.on("confirm_order", do=DropRequest())
    order = proxied.ended(proxied.order(quantity=3))
    assert order.status == "FAILED"
    payment = proxied.payment(order)
    assert (payment["status"], payment["captured_amount_cents"], payment["refunded_amount_cents"]) == (
        "REFUNDED", 1500, 1500,
    )  # fmt: skip
    calls = proxied.proxy.calls("cancel_order", "void", "refund", "release")
    assert [(call.operation, call.status) for call in calls] == [
        ("cancel_order", 200), ("void", 409), ("refund", 200), ("release", 200),
    ]  # fmt: skip
    assert proxied.stock() == 1000
    proxied.settle()


def test_order_cancelled_from_outside_is_refunded(proxied: ProxiedSystem) -> None:
    """The confirm is refused permanently: no retry."""
    proxied.proxy.on("confirm_order", do=(confirm := Delay()))
    order_ledger_id = proxied.order(quantity=3)
    confirm.wait()
    order_id = proxied.look(order_ledger_id).order_id
    url = f"{proxied.stack.url('orders_service')}/orders/{order_id}/cancel"
    assert requests.put(url, timeout=30).status_code == 200
    confirm.release()
    order = proxied.ended(order_ledger_id)
    assert (order.status, order.failure and order.failure.code) == ("FAILED", "invalid_status_transition")
    assert [call.statuses for call in proxied.proxy.calls("confirm_order")] == [[409]]
    assert proxied.movements(order) == ["authorize", "capture", "refund"]
    assert proxied.stock() == 1000
    proxied.settle()
