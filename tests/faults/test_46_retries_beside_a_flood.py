"""Row 46: retries are due during a flood of new orders.

Required: claimed in the order of their due time; the most overdue one waits only seconds.
"""

from __future__ import annotations

from tests.faults.claims import watching_claims
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack

ORDERS = 150
# A flood of new orders with retries among them, all due, in random order.
DUE = """
UPDATE order_ledger SET due_at = now() - random() * interval '5 s', created_at = now() - random() * interval '5 s',
  retry_count = CASE WHEN random() < 0.3 THEN 1 ELSE 0 END
"""


def test_due_retries_are_not_starved_by_new_orders(stack: SharedStack) -> None:
    """Two overloaded threads; payments that fail often cause more and more retries."""
    stack.end("payments_service", *ORCHESTRATORS)
    stack.start("payments_service", MOCK_FAILURE_RATE="0.3")
    stack.backlog(ORDERS, [stack.product()])
    stack.sql(DUE)
    with watching_claims(stack) as claims:
        stack.start("orchestrator.1", WORKER_THREADS="2", RETRY_MAX_ATTEMPTS="20")
        stack.settle(120)
        assert stack.by_status() == {"COMPLETED": ORDERS}
        assert stack.count("witness.claims") > ORDERS + 20, "there were too few retries"
        assert claims.worst("overtaken") == 0
        assert claims.worst("late_s") < 60
