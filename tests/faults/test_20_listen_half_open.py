"""Row 20: the LISTEN connection is half open, its packets are dropped. Required: found within 10 s."""

from __future__ import annotations

from orchestrator import listener
from tests.faults.shared_stack import LISTENS, SharedStack
from tests.severable import Severable
from tests.waiting import eventually


def test_half_open_listen_connection_is_found_and_orders_complete(stack: SharedStack, way: Severable) -> None:
    product = stack.product()
    before = eventually(lambda: stack.backends(LISTENS))
    way.drop_packets_of(LISTENS)
    assert stack.post_order("unheard", product).status_code == 202
    eventually(lambda: stack.backends(LISTENS) - before, 30)
    stack.settle()
    assert before <= stack.backends(LISTENS), "the server still sees the old connection"
    assert stack.post_order("heard", product).status_code == 202
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2}


def test_default_limits_find_a_half_open_connection_within_10_s() -> None:
    assert listener.PROVE_EVERY_S + listener.ANSWER_WITHIN_S + listener.RECONNECT_FIRST_S < 10
