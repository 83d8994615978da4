"""An orchestrator dies at each point of a refund. The money and the pieces return once, and the refund succeeds."""

from __future__ import annotations

import pytest

from crash_points import points as crash
from tests.faults.crashes import ORCHESTRATOR, CrashStack, ShopsOrder
from tests.faults.shared_stack import new_key

FIRST_CLAIM = "saga.after_claim.refund_payment"
LATER_CLAIMS = tuple(f"saga.after_claim.{step}" for step in crash.REFUND_STEPS[1:])
IN_A_STEP = tuple(
    f"saga.{when}.{step}" for step in crash.REFUND_STEPS for when in ("before_call", "after_call", "after_checkpoint")
)
POINTS = (FIRST_CLAIM, *LATER_CLAIMS, *IN_A_STEP)


@pytest.fixture
def sold(crashing: CrashStack) -> str:
    """A completed order of two pieces of a product of which there were ten."""
    crashing.ensure(ORCHESTRATOR)
    order = ShopsOrder(crashing, crashing.product(stock=10), quantity=2)
    assert order.send().status_code == 202
    crashing.settle()
    return str(crashing.value("SELECT id::text FROM order_ledger"))


def request(stack: CrashStack, order_ledger_id: str, key: str) -> str:
    answer = stack.post_refund(order_ledger_id, key, restock=True)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["refund_id"])


def has_succeeded_once(stack: CrashStack) -> None:
    stack.let_time_pass()
    stack.ensure(ORCHESTRATOR)
    stack.settle()
    assert stack.sql("SELECT status, amount_cents FROM refunds") == [("SUCCEEDED", 1000)]
    assert stack.sql("SELECT amount_cents, status FROM payment_refunds") == [(1000, "REFUNDED")]
    assert stack.value("SELECT refunded_cents FROM order_ledger") == 1000
    assert stack.value("SELECT stock_quantity FROM products") == 10
    assert stack.count("inventory_adjustments WHERE reason = 'return_to_stock'") == 1


@pytest.mark.parametrize("point", [FIRST_CLAIM, *IN_A_STEP])
def test_interrupted_refund_continues(crashing: CrashStack, sold: str, point: str) -> None:
    key = new_key()
    with crashing.killed_at(point):
        refund = request(crashing, sold, key)
    assert request(crashing, sold, key) == refund, "the request is replayed"
    has_succeeded_once(crashing)


@pytest.mark.parametrize("point", LATER_CLAIMS)
def test_refund_claimed_at_a_later_step_continues(crashing: CrashStack, sold: str, point: str) -> None:
    before = crash.REFUND_STEPS[crash.REFUND_STEPS.index(point.rpartition(".")[2]) - 1]
    with crashing.killed_at(f"saga.after_checkpoint.{before}"):
        request(crashing, sold, new_key())
    crashing.let_time_pass()
    with crashing.killed_at(point):
        pass
    has_succeeded_once(crashing)
