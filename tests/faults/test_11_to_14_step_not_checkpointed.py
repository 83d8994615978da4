"""Rows 11–14. An orchestrator dies after a step's answer, before saving it (four steps): the step is done once."""

from __future__ import annotations

import pytest

from crash_points.points import STEPS
from orchestrator.definitions import SALE as SAGA
from tests.faults.crashes import CrashStack, ShopsOrder, process_of

POINTS = tuple(f"saga.after_call.{step}" for step in STEPS)
# The participant's write, its call as logged, and the rows that exist once it is done.
CALLS = {
    "create_order": ("create_order", "POST /orders", "orders"),
    "reserve_inventory": ("reserve", "POST /inventory/reservations", "inventory_reservations"),
    "capture_payment": ("capture", "POST /payments/capture/", "payment_authorizations WHERE status = 'CAPTURED'"),
    "confirm_order": ("confirm_order", "/confirm", "orders WHERE status = 'CONFIRMED'"),
}


@pytest.mark.parametrize("point", POINTS)
def test_unsaved_step_is_repeated_and_done_once(crashing: CrashStack, point: str) -> None:
    step = point.rpartition(".")[2]
    write, call, effect = CALLS[step]
    participant = process_of(f"participant.after_commit.{write}")
    order = ShopsOrder(crashing, crashing.product(stock=10))
    told_before = len(crashing.log(participant))
    with crashing.killed_at(point):
        assert order.send().status_code == 202
    assert crashing.by_status() == {next(each.at for each in SAGA if each.do == step): 1}, "the step was not saved"
    assert crashing.count(effect) == 1, "the step was done"
    crashing.let_time_pass()
    crashing.settles(order, "COMPLETED")
    assert crashing.log(participant)[told_before:].count(call) >= 2
    assert crashing.count(effect) == 1
    assert crashing.value("SELECT stock_quantity FROM products") == 9
    assert crashing.value("SELECT captured_amount_cents FROM payment_authorizations") == 500
