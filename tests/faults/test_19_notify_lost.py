"""Row 19: a NOTIFY is lost, the LISTEN backend is killed. Required: done within the poll; listening again in 10 s."""

from __future__ import annotations

from tests.faults.shared_stack import LISTENS, ORCHESTRATORS, SharedStack
from tests.severable import Severable
from tests.waiting import eventually


def test_poll_finds_an_order_whose_notification_was_lost(stack: SharedStack) -> None:
    """The Edge API batches its notifications, and dies before it has sent the second."""
    stack.restart("web", WEB_CONCURRENCY="1", NOTIFY_COALESCE_MS="10000")
    product = stack.product()
    assert stack.post_order("told at once", product).status_code == 202
    stack.settle()
    stack.restart(*ORCHESTRATORS)  # without a notification, only the poll is left
    eventually(lambda: len(stack.backends(LISTENS)) == 2)
    assert stack.post_order("to be told later", product).status_code == 202
    stack.kill("web")
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2}


def test_listener_with_a_killed_backend_reconnects_and_misses_nothing(stack: SharedStack, way: Severable) -> None:
    product = stack.product()
    before = eventually(lambda: stack.backends(LISTENS))
    way.refuse()
    for pid in before:
        stack.sql("SELECT pg_terminate_backend(%(pid)s, 10000)", pid=pid)
    assert stack.post_order("while nobody listens", product).status_code == 202
    way.start()
    eventually(lambda: stack.backends(LISTENS) - before, 10)
    stack.settle()
    assert stack.post_order("while somebody listens", product).status_code == 202
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2}
