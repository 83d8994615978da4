"""Row 33: PostgreSQL is restarted hard, again and again. Required: all terminal, no dead listener."""

from __future__ import annotations

from tests.faults.shared_stack import LISTENS, SharedStack
from tests.system.conftest import buying
from tests.waiting import eventually

ORDERS = 60


def test_hard_database_restarts_strand_no_saga(stack: SharedStack) -> None:
    """As after a crash: connections break, and the server replays its log."""
    product = stack.product()
    with buying(stack, product, ORDERS) as placed:
        for _ in range(3):
            before = stack.count("order_ledger")
            eventually(lambda before=before: stack.count("order_ledger") > min(before + 5, ORDERS - 5), 60)
            stack.server.restart("immediate")
    assert len(set(placed.values())) == ORDERS
    stack.settle()
    assert stack.by_status() == {"COMPLETED": ORDERS}
    assert all(process.poll() is None for process in stack.processes.values()), "no process has ended"
    eventually(lambda: len(stack.backends(LISTENS)) == 2)
