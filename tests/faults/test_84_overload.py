"""Row 84: orders come faster than sagas complete. Required: above a backlog age, new orders get 503 unwritten."""

from __future__ import annotations

from tests.faults.shared_stack import ORCHESTRATORS, SharedStack, new_key
from tests.waiting import eventually

WAITING = 20


def age(stack: SharedStack, orders: int) -> None:
    """Let orders wait for ten minutes."""
    stack.sql(
        "UPDATE order_ledger SET due_at = now() - interval '10 minutes' WHERE id IN (SELECT id FROM order_ledger"
        " WHERE status = 'AUTHORIZED' ORDER BY id LIMIT %(orders)s)",
        orders=orders,
    )


def refused(stack: SharedStack, product: str) -> bool:
    answer = stack.post_order(new_key(), product)
    if answer.status_code == 503:
        assert answer.json()["error"] == "busy"
        assert int(answer.headers["Retry-After"]) >= 1
        return True
    return False


def test_new_orders_are_refused_while_others_wait_too_long(stack: SharedStack) -> None:
    stack.restart("web", WEB_CONCURRENCY="1")  # each worker checks the backlog itself, once a second
    product = stack.product()
    known = stack.post_order("known", product)
    stack.settle()
    stack.end(*ORCHESTRATORS)
    stack.backlog(WAITING, [product])
    age(stack, WAITING)
    eventually(lambda: refused(stack, product))
    before = stack.by_status()
    for _ in range(5):
        assert refused(stack, product)
        assert stack.post_order("known", product).content == known.content, "a repeat is served"
    assert stack.by_status() == before
    stack.start(*ORCHESTRATORS)
    eventually(lambda: not refused(stack, product))
    stack.settle()
    assert set(stack.by_status()) == {"COMPLETED"}


def test_few_unprocessable_orders_do_not_stop_sales(stack: SharedStack) -> None:
    product = stack.product()
    stack.end(*ORCHESTRATORS)
    stack.backlog(5, [product])
    age(stack, 5)
    assert [stack.post_order(f"k{number}", product).status_code for number in range(20)] == [202] * 20
    stack.start(*ORCHESTRATORS)
    stack.settle()
