"""Row 47: a participant answers slowly, or one call hangs.

Required: the others continue; 12 orders on 12 threads take as long as one.
"""

from tests.faults.network_faults import Delay
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually


def test_twelve_slow_calls_run_in_parallel(proxied: ProxiedSystem) -> None:
    """No call is answered before the last has arrived. Calls made one by one would never get there."""
    proxied.proxy.on("capture", do=(slow := Delay()))
    orders = [proxied.order() for _ in range(12)]
    captures = eventually(lambda: calls if len(calls := proxied.proxy.calls("capture")) == 12 else None)
    assert all(call.ended_at is None for call in captures)
    slow.release()
    assert {proxied.ended(id_).status for id_ in orders} == {"COMPLETED"}
    assert len(proxied.proxy.calls("capture")) == 12
    proxied.settle()


def test_hanging_call_delays_no_other_order(proxied: ProxiedSystem) -> None:
    proxied.proxy.on("capture", nth=1, do=(hanging := Delay()))
    stuck = proxied.order()
    hanging.wait()
    others = [proxied.order() for _ in range(6)]
    assert {proxied.ended(id_).status for id_ in others} == {"COMPLETED"}
    assert len(proxied.proxy.calls("capture", about=stuck)) == 1, "it hung all the time and was not retried"
    hanging.release()
    assert proxied.ended(stuck).status == "COMPLETED"
    proxied.settle()
