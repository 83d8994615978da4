"""The crash points that the catalogue's rows do not cover, and the check that every point has a test."""

from __future__ import annotations

from importlib import import_module

import pytest
import requests

from crash_points import points as crash
from tests.faults.crashes import ORCHESTRATOR, PATIENCE_S, CrashStack, ShopsOrder
from tests.faults.shared_stack import new_key

ROWS = ("01_authorized_not_committed", "02_entry_without_authorization", "05_authorized_not_answered",
        "10_claimed_nothing_done", "11_to_14_step_not_checkpointed", "27_crash_after_an_undo",
        "refund_crash_points")  # fmt: skip


def around_commit(*writes: str) -> tuple[str, ...]:
    return tuple(f"participant.{when}.{write}" for write in writes for when in ("before_commit", "after_commit"))


BEFORE_T1 = "edge.before_t1"
LATER_CLAIMS = tuple(f"saga.after_claim.{step}" for step in crash.STEPS[1:])
IN_A_STEP = tuple(f"saga.{when}.{step}" for step in crash.STEPS for when in ("before_call", "after_checkpoint"))
OF_A_SALE = around_commit("authorize", "create_order", "reserve", "capture", "confirm_order")
OF_AN_UNDO = around_commit("void", "release", "cancel_order")
REFUND, VOID_BY_KEY = around_commit("refund"), around_commit("void_by_key")
CREATE_PRODUCT, CHANGE_STOCK = around_commit("create_product"), around_commit("change_stock")
HERE = (
    *(BEFORE_T1, *LATER_CLAIMS, *IN_A_STEP, *OF_A_SALE, *OF_AN_UNDO),
    *(*REFUND, *VOID_BY_KEY, *CREATE_PRODUCT, *CHANGE_STOCK),
)


def test_every_crash_point_has_a_test() -> None:
    """Each of those tests fails unless the process dies at its point."""
    elsewhere = [point for row in ROWS for point in import_module(f"tests.faults.test_{row}").POINTS]
    assert sorted((*HERE, *elsewhere)) == sorted(crash.POINTS)


def test_edge_killed_before_t1_keeps_nothing(crashing: CrashStack) -> None:
    order = ShopsOrder(crashing, crashing.product())
    with crashing.killed_at(BEFORE_T1), pytest.raises(requests.ConnectionError):
        order.send()
    assert crashing.by_status() == {}
    assert order.send_until_answered().status_code == 202
    crashing.settles(order, "COMPLETED")


def test_one_worker_of_a_service_dies_once(crashing: CrashStack) -> None:
    orders = [ShopsOrder(crashing, crashing.product()) for _ in range(6)]
    answers = []
    with crashing.killed_at(BEFORE_T1, nth=3, WEB_CONCURRENCY="2"):
        for order in orders:
            try:
                answers.append(order.send().status_code)
            except requests.ConnectionError:
                answers.append(0)
    assert answers == [202, 202, 0, 202, 202, 202]
    crashing.ensure(ORCHESTRATOR)
    crashing.settle()


@pytest.mark.parametrize("point", LATER_CLAIMS)
def test_saga_claimed_at_a_later_step_continues(crashing: CrashStack, point: str) -> None:
    step = crash.STEPS.index(point.rpartition(".")[2])
    order = ShopsOrder(crashing, crashing.product())
    with crashing.killed_at(f"saga.after_checkpoint.{crash.STEPS[step - 1]}"):
        assert order.send().status_code == 202
    crashing.let_time_pass()
    with crashing.killed_at(point):
        pass
    crashing.let_time_pass()
    crashing.settles(order, "COMPLETED")


@pytest.mark.parametrize("point", IN_A_STEP)
def test_interrupted_saga_continues(crashing: CrashStack, point: str) -> None:
    order = ShopsOrder(crashing, crashing.product())
    with crashing.killed_at(point):
        assert order.send().status_code == 202
    crashing.let_time_pass()
    crashing.settles(order, "COMPLETED")


@pytest.mark.parametrize("point", OF_A_SALE)
def test_participant_killed_in_a_step_does_it_once(crashing: CrashStack, point: str) -> None:
    order = ShopsOrder(crashing, crashing.product(stock=10))
    with crashing.killed_at(point):
        assert order.send_until_answered().status_code == 202
        crashing.ensure(ORCHESTRATOR)
    crashing.settles(order, "COMPLETED")
    assert crashing.value("SELECT stock_quantity FROM products") == 9
    assert crashing.count("orders") == crashing.count("inventory_reservations") == 1


@pytest.mark.parametrize("point", OF_AN_UNDO)
def test_participant_killed_in_an_undo_does_it_once(crashing: CrashStack, point: str) -> None:
    order = ShopsOrder(crashing, crashing.product(stock=10), token="tok_fail_capture")
    with crashing.killed_at(point):
        assert order.send().status_code == 202
        crashing.ensure(ORCHESTRATOR)
    crashing.settles(order, "FAILED")
    assert crashing.value("SELECT stock_quantity FROM products") == 10
    assert crashing.value("SELECT status FROM payment_authorizations") == "VOIDED"
    assert crashing.value("SELECT status FROM orders") == "CANCELLED"


@pytest.mark.parametrize("point", REFUND)
def test_gateway_killed_in_a_refund_refunds_once(crashing: CrashStack, point: str) -> None:
    crashing.ensure(ORCHESTRATOR)
    with crashing.killed_at(point):
        order = crashing.order_that_confirm_refuses()
    crashing.settles(order, "FAILED")
    assert crashing.sql("SELECT amount_cents FROM payment_refunds") == [(500,)]


@pytest.mark.parametrize("point", VOID_BY_KEY)
def test_gateway_killed_in_a_void_by_key_voids_it(crashing: CrashStack, point: str) -> None:
    order = ShopsOrder(crashing, crashing.product())
    crashing.kill("payments_service")
    assert order.send().status_code == 503
    crashing.let_time_pass()
    with crashing.killed_at(point):
        crashing.ensure(ORCHESTRATOR)
    crashing.settle()
    assert crashing.by_status() == {"AUTHORIZATION_FAILED": 1}
    assert crashing.sql("SELECT status, amount_cents FROM payment_authorizations") == [("VOIDED", None)], "a tombstone"
    answer = order.send()
    assert (answer.status_code, answer.json()["error"]) == (409, "request_abandoned")


@pytest.mark.parametrize("point", CREATE_PRODUCT)
def test_killed_product_creation_creates_one_product(crashing: CrashStack, point: str) -> None:
    body = {"name": "Coffee", "sku": "COFFEE", "price_cents": 500, "initial_stock": 7}
    with crashing.killed_at(point), pytest.raises(requests.ConnectionError):
        post(crashing, "/inventory/products", body)
    is_made = point.startswith("participant.after_commit")
    assert crashing.count("products") == is_made
    assert post(crashing, "/inventory/products", body).status_code == (409 if is_made else 201)
    assert crashing.sql("SELECT stock_quantity FROM products") == [(7,)]
    crashing.settle()


@pytest.mark.parametrize("point", CHANGE_STOCK)
def test_killed_stock_change_adds_stock_once(crashing: CrashStack, point: str) -> None:
    path = f"/inventory/products/{crashing.product(stock=7)}/stock"
    body, key = {"quantity": 5, "reason": "warehouse_receiving"}, new_key()
    with crashing.killed_at(point), pytest.raises(requests.ConnectionError):
        post(crashing, path, body, key)
    is_added = point.startswith("participant.after_commit")
    assert crashing.value("SELECT stock_quantity FROM products") == (12 if is_added else 7)
    answer = post(crashing, path, body, key)
    assert (answer.json()["new_quantity"], "Idempotency-Replayed" in answer.headers) == (12, is_added)
    assert crashing.value("SELECT stock_quantity FROM products") == 12
    crashing.settle()


def post(stack: CrashStack, path: str, body: dict[str, object], key: str = "") -> requests.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return requests.post(f"{stack.url('inventory_service')}{path}", json=body, headers=headers, timeout=PATIENCE_S)
