"""Row 74: one ledger entry is locked while others are saved with it. Required: only that entry waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.other_session import other_session
from tests.waiting import eventually

ORDERS = 12
LOCKS = {
    "order_ledger": "SELECT FROM order_ledger WHERE id = %s FOR UPDATE",
    "outbox": "SELECT FROM outbox WHERE order_ledger_id = %s FOR UPDATE",
}
STUCK = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'orchestrator' AND wait_event_type = 'Lock' AND now() - query_start > interval '1 s'
"""


@contextmanager
def locked(stack: SharedStack, statement: str, id_: str) -> Iterator[None]:
    with other_session(stack.server.url) as cursor:
        cursor.execute(statement, (id_,))
        yield


@pytest.mark.parametrize("table", LOCKS)
def test_locked_entry_delays_no_other(stack: SharedStack, table: str) -> None:
    stack.end(*ORCHESTRATORS)
    stack.restart("orders_service", "payments_service", MOCK_LATENCY_MS="200")  # captures overlap: saves form groups
    held, *_ = stack.backlog(ORDERS, [stack.product()])
    stack.start("orchestrator.1", WORKER_THREADS=str(ORDERS), LEASE_S="30")
    eventually(lambda: stack.count(f"order_ledger WHERE id = '{held}' AND claimed_by IS NOT NULL"))
    with locked(stack, LOCKS[table], held):
        waited = []

        def others_completed() -> bool:
            waited.extend(stack.sql(STUCK)[0])
            return stack.by_status().get("COMPLETED", 0) >= ORDERS - 1

        eventually(others_completed)
        assert not any(waited), "a save waited for the lock"
        assert stack.count(f"order_ledger WHERE id = '{held}' AND status = 'COMPLETED'") == 0
    stack.settle()
    assert stack.by_status() == {"COMPLETED": ORDERS}
