"""Row 25: every request is sent twice. Required: the same answer, no double effect."""

import pytest

from tests.faults.network_faults import Repeat
from tests.faults.proxied import ProxiedSystem


@pytest.mark.parametrize("gives", [1, 2])
def test_every_request_twice_is_as_good_as_once(proxied: ProxiedSystem, gives: int) -> None:
    """Whichever of the two answers is given. Orders that succeed, that are out of stock, whose capture is refused."""
    proxied.proxy.on(do=Repeat(gives))
    scarce = proxied.stack.product(stock=1)
    sold = [proxied.order(quantity=2) for _ in range(5)]
    out_of_stock = [proxied.order(quantity=2, product=scarce) for _ in range(3)]
    refused = [proxied.order(token="tok_fail_capture") for _ in range(3)]
    assert proxied.post("declined", token="tok_decline_stolen").status_code == 402

    orders = {id_: proxied.ended(id_) for id_ in (*sold, *out_of_stock, *refused)}
    assert {orders[id_].status for id_ in sold} == {"COMPLETED"}
    assert {orders[id_].failure.code for id_ in out_of_stock} == {"insufficient_stock"}
    assert {orders[id_].failure.code for id_ in refused} == {"payment_declined"}
    assert (proxied.stock(), proxied.stock(scarce)) == (990, 1)
    assert {tuple(proxied.movements(orders[id_])) for id_ in sold} == {("authorize", "capture")}
    calls = proxied.proxy.calls()
    assert {len(call.statuses) for call in calls} == {2}
    assert {call.operation for call in calls} == {
        "prices", "authorize", "create_order", "reserve", "capture", "confirm_order", "void", "release", "cancel_order",
    }  # fmt: skip
    for call in calls:
        first, second = call.statuses
        assert second == (200 if (call.operation, first) == ("create_order", 201) else first), call
    proxied.settle()
