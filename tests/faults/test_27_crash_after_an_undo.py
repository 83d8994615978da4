"""Row 27. An orchestrator dies after each undo: the next one continues the undo and never goes forward again."""

from __future__ import annotations

import pytest

from tests.faults.crashes import CrashStack, ShopsOrder

REFUND = "undo.after_refund"
OTHERS = ("undo.after_void", "undo.after_release", "undo.after_cancel", "undo.before_failed")
POINTS = (REFUND, *OTHERS)


def statuses(stack: CrashStack) -> list[str]:
    return [status for (status,) in stack.sql("SELECT to_status FROM order_ledger_history ORDER BY id")]


@pytest.mark.parametrize("point", OTHERS)
def test_undo_continues_after_a_crash(crashing: CrashStack, point: str) -> None:
    order = ShopsOrder(crashing, crashing.product(stock=10), token="tok_fail_capture")
    with crashing.killed_at(point):
        assert order.send().status_code == 202
    assert crashing.by_status() == {"COMPENSATING": 1}
    crashing.let_time_pass()
    crashing.settles(order, "FAILED")
    assert statuses(crashing)[-4:] == ["COMPENSATING"] * 3 + ["FAILED"]
    assert crashing.value("SELECT stock_quantity FROM products") == 10
    assert crashing.value("SELECT status FROM payment_authorizations") == "VOIDED"
    assert crashing.value("SELECT status FROM orders") == "CANCELLED"


def test_crash_after_a_refund_refunds_once(crashing: CrashStack) -> None:
    with crashing.killed_at(REFUND):
        order = crashing.order_that_confirm_refuses()
    assert crashing.by_status() == {"COMPENSATING": 1}
    crashing.let_time_pass()
    crashing.settles(order, "FAILED")
    assert statuses(crashing)[-4:] == ["COMPENSATING"] * 3 + ["FAILED"]
    assert crashing.sql("SELECT amount_cents FROM payment_refunds") == [(500,)]
