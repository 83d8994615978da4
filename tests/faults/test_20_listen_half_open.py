"""Row 20: the LISTEN connection is half open, its packets are dropped. Required: found within 10 s."""

from __future__ import annotations

from orchestrator import listener
from tests.faults.shared_stack import LISTENS, SharedStack
from tests.severable import Severable
from tests.waiting import eventually


def test_it_is_found_and_the_orders_meanwhile_are_done(stack: SharedStack, way: Severable) -> None:
    product = stack.product()
    before = eventually(lambda: stack.backends(LISTENS))
    way.drop_packets_of(LISTENS)
    assert stack.post_order("unheard", product).status_code == 202
    eventually(lambda: stack.backends(LISTENS) - before, 30)
    stack.settle()
    assert before <= stack.backends(LISTENS), "for the server, nothing has happened to the old connection"
    assert stack.post_order("heard", product).status_code == 202
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2}


def test_ten_seconds_are_enough_on_a_machine_that_is_not_busy() -> None:
    assert listener.PROVE_EVERY_S + listener.ANSWER_WITHIN_S + listener.RECONNECT_FIRST_S < 10
