"""Row 21: create, reserve, capture or confirm is done, and its answer lost five times.

Required: cancelled, released, refunded – and COMPLETED where the order was confirmed.
"""

import pytest

from tests.faults.network_faults import DropAnswer
from tests.faults.proxied import ProxiedSystem

UNDONE = {  # the step that was done → the calls that undo it, in order, each with the participant's status
    "create_order": [("void", 200), ("cancel_order", 200)],
    "reserve": [("void", 200), ("release", 200), ("cancel_order", 200)],
    "capture": [("void", 409), ("refund", 200), ("release", 200), ("cancel_order", 200)],
}


@pytest.mark.parametrize("step", UNDONE)
def test_unanswered_step_is_undone(proxied: ProxiedSystem, step: str) -> None:
    proxied.proxy.on(step, do=DropAnswer())
    order = proxied.ended(proxied.order(quantity=3))
    assert (order.status, order.failure and order.failure.code) == (
        "FAILED",
        {"reserve": "reserve_inventory", "capture": "capture_payment"}.get(step, step) + "_unanswered",
    )
    calls = proxied.proxy.calls(step)
    assert [call.fault for call in calls] == ["DropAnswer"] * 5
    assert {call.body for call in calls} == {calls[0].body}, "the same request, with the same key, each time"
    after = proxied.proxy.calls()[-len(UNDONE[step]) :]
    assert [(call.operation, call.status) for call in after] == UNDONE[step]
    assert proxied.stock() == 1000
    assert proxied.sql("SELECT status FROM orders") == [{"status": "CANCELLED"}]
    proxied.settle()


def test_unanswered_confirm_completes_the_sale(proxied: ProxiedSystem) -> None:
    """The cancel comes first. The orders service answers that the order is confirmed, so the saga goes forward."""
    proxied.proxy.on("confirm_order", do=DropAnswer())
    order = proxied.ended(proxied.order(quantity=3))
    assert (order.status, order.failure) == ("COMPLETED", None)
    assert [call.fault for call in proxied.proxy.calls("confirm_order")] == ["DropAnswer"] * 5
    assert [call.status for call in proxied.proxy.calls("cancel_order")] == [409]
    assert proxied.proxy.calls("void", "refund", "release") == []
    assert proxied.movements(order) == ["authorize", "capture"]
    assert proxied.stock() == 997
    proxied.settle()
