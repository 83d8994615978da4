"""Row 24: a release arrives before its reserve, a cancel before its create, a void before its capture.

Required: the late request is refused, and revives nothing.
"""

import pytest

from tests.faults.network_faults import Delay, DropRequest
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("step", "undo", "code"),
    [
        ("create_order", "cancel_order", "invalid_status_transition"),
        ("reserve", "release", "reservation_released"),
        ("capture", "void", "already_voided"),
    ],
)
def test_request_arriving_after_its_undo_is_refused(
    proxied: ProxiedSystem, step: str, undo: str, code: str
) -> None:
    proxied.proxy.on(step, nth=1, do=(late := Delay(caller_gives_up=True)))
    proxied.proxy.on(step, times=4, do=DropRequest())
    order = proxied.ended(proxied.order(quantity=3))
    assert order.status == "FAILED"
    late.release()
    first = proxied.proxy.calls(step)[0]
    eventually(lambda: first.ended_at)
    assert (first.statuses, first.code) == ([409], code)
    undone = proxied.proxy.calls(undo)[-1]
    assert (undone.delivered_at or 0) < (first.delivered_at or 0)

    assert proxied.stock() == 1000
    assert proxied.movements(order) == ["authorize", "void"]
    assert proxied.sql("SELECT status FROM orders WHERE status <> 'CANCELLED'") == []
    proxied.settle()
