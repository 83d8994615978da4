"""Refunds in the complete system: whatever happens to their calls, the books agree between any two commits."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from domain.refunds import RefundStatus
from tests.audit.small_world import SmallWorld
from tests.audit.test_audit_command import run


@pytest.fixture
def watched(world: SmallWorld) -> Iterator[SmallWorld]:
    """The small world, audited between any two commits."""
    found: list[Any] = []
    world.look = lambda: found.extend(world.audit())
    yield world
    world.look()
    assert found == []


@pytest.fixture
def sold(watched: SmallWorld) -> Callable[..., tuple[str, str]]:
    """`sold(token="fail_refund")`: a completed order of two pieces; its id and its product."""

    def make(**options: Any) -> tuple[str, str]:
        product = watched.product(stock=10)
        order_ledger_id = str(watched.order(product, **options).json["order_ledger_id"])
        watched.work()
        return order_ledger_id, product

    return make


def shown(world: SmallWorld, refund_id: str) -> dict[str, Any]:
    return dict(world.edge.test_client().get(f"/refunds/{refund_id}").json)


def sums(world: SmallWorld, order_ledger_id: str) -> tuple[int, int, int, str]:
    """What is refunded and reserved of the order, how many of its pieces, and whether the books have as much."""
    ((refunded, reserved, pieces, books),) = world.sql(
        "SELECT refunded_cents, refund_reserved_cents, (SELECT sum(refunded_quantity)::int FROM order_ledger_items"
        " WHERE order_ledger_id = l.id), p.refunded_amount_cents FROM order_ledger l"
        " JOIN payment_authorizations p ON p.id = l.payment_authorization_id WHERE l.id = %(id)s",
        id=order_ledger_id,
    )
    return refunded, reserved, pieces, books


def requested(world: SmallWorld, order_ledger_id: str, **body: Any) -> str:
    answer = world.refund(order_ledger_id, **body)
    assert answer.status_code == 202, answer.json
    return str(answer.json["refund_id"])


def test_whole_order_is_refunded_and_its_pieces_return(watched, sold):
    order, product = sold()
    refund = requested(watched, order, restock=True)
    watched.work()
    assert shown(watched, refund)["status"] == "SUCCEEDED"
    assert sums(watched, order) == (2500, 2500, 2, 2500)
    assert watched.stock(product) == 10
    adjustments = watched.sql("SELECT reason, reference_id, quantity FROM inventory_adjustments WHERE quantity = 2")
    assert adjustments == [("return_to_stock", refund, 2)]


def test_parts_add_up(watched, sold):
    order, product = sold()
    for body in (
        {"amount_cents": 100},
        {"items": [{"product_id": product, "quantity": 1}], "restock": True},
        {"items": [{"product_id": product, "quantity": 1}]},
    ):
        answer = watched.refund(order, **body)
        watched.work()
        if answer.status_code == 409:  # the amount has taken a part of the second piece
            assert answer.json["details"] == {"remaining_cents": 1150}
    watched.work()
    assert sums(watched, order) == (1350, 1350, 1, 1350)
    assert watched.stock(product) == 9
    requested(watched, order)
    watched.work()
    assert sums(watched, order) == (2500, 2500, 2, 2500)


def test_refund_that_the_gateway_refuses_changes_nothing(watched, sold):
    order, product = sold(token="fail_refund")
    refund = requested(watched, order, restock=True)
    watched.work()
    body = shown(watched, refund)
    assert body["status"] == "FAILED"
    assert body["failure"]["code"] == "refund_declined"
    assert sums(watched, order) == (0, 0, 0, 0)
    assert watched.stock(product) == 8
    requested(watched, order)


def test_request_that_arrives_after_its_refund_failed_is_refused(watched, sold):
    order, _ = sold(token="fail_refund")
    watched.faults["refund"] = ["request"]
    refund = requested(watched, order)
    watched.work()
    assert shown(watched, refund)["status"] == "FAILED"
    assert set(watched.arrive_late()) == {402}
    assert sums(watched, order) == (0, 0, 0, 0)


def test_request_that_arrives_after_another_refund_adds_nothing(watched, sold):
    """The first request of a part of the order is late: the order has been refunded completely."""
    order, product = sold()
    watched.faults["refund"] = ["request"]
    requested(watched, order, amount_cents=100)
    watched.work()
    requested(watched, order, restock=True)
    watched.work()
    assert set(watched.arrive_late()) == {200}
    assert sums(watched, order) == (2500, 2500, 2, 2500)
    assert watched.stock(product) == 10


def test_pending_refund_succeeds_when_the_gateway_settles_it(watched, sold):
    order, product = sold(token="pending_refund")
    refund = requested(watched, order, restock=True)
    for _ in range(5):
        watched.sql("UPDATE refunds SET due_at = now()")
        watched.run_once()
    assert shown(watched, refund)["status"] == "PENDING"
    assert watched.sql("SELECT retry_count, needs_attention_at FROM refunds") == [(0, None)]
    assert sums(watched, order) == (0, 2500, 2, 0)
    assert watched.stock(product) == 8
    watched.call(8300, "/payments/simulate/settle_refunds")
    watched.sql("UPDATE refunds SET due_at = now()")
    watched.work()
    assert shown(watched, refund)["status"] == "SUCCEEDED"
    assert sums(watched, order) == (2500, 2500, 2, 2500)


def test_pending_refund_of_a_failed_order_is_settled_too(watched):
    watched.faults["capture"] = ["answer"] * 5
    watched.order(watched.product(), token="pending_refund")

    def is_waiting() -> bool:
        watched.sql("UPDATE order_ledger SET due_at = now() WHERE due_at IS NOT NULL")
        watched.run_once()
        return bool(watched.sql("SELECT 1 FROM payment_refunds WHERE status = 'PENDING'"))

    while not is_waiting():
        pass
    assert watched.sql("SELECT status, needs_attention_at FROM order_ledger") == [("COMPENSATING", None)]
    watched.call(8300, "/payments/simulate/settle_refunds")
    watched.sql("UPDATE order_ledger SET due_at = now() WHERE due_at IS NOT NULL")
    watched.work()
    assert watched.sql("SELECT status FROM order_ledger") == [("FAILED",)]


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("call", ["refund", "restock"])
def test_lost_calls_have_one_effect(watched, sold, call, lost):
    order, product = sold()
    watched.faults[call] = [lost] * 3
    refund = requested(watched, order, restock=True)
    watched.work()
    assert shown(watched, refund)["status"] == "SUCCEEDED"
    statuses = watched.arrive_late()
    assert set(statuses) <= {200}
    assert sums(watched, order) == (2500, 2500, 2, 2500)
    assert watched.stock(product) == 10


@pytest.mark.parametrize("step", ["refund_payment", "restock", "note"])
def test_crash_after_an_answer_repeats_no_effect(watched, sold, step):
    order, product = sold()
    watched.crashes_at = {step}
    refund = requested(watched, order, restock=True)
    watched.work()
    assert shown(watched, refund)["status"] == "SUCCEEDED"
    assert sums(watched, order) == (2500, 2500, 2, 2500)
    assert watched.stock(product) == 10


@pytest.fixture
def gone(world):
    """A refund of a completed order of two products, one of which is gone: its id, its order, and both products.

    A shop that deletes a product by hand breaks the stock's books, so that only the audit of refunds is looked at.
    """
    product, gone = world.product(), world.product()
    order = str(world.order(product, gone, quantity=1).json["order_ledger_id"])
    world.work()
    world.sql("SET session_replication_role = replica")
    world.sql("DELETE FROM products WHERE id = %(id)s", id=gone)
    world.sql("SET session_replication_role = origin")
    return requested(world, order, restock=True), order, product, gone


def test_refund_succeeds_without_a_product_that_is_gone(world, gone):
    refund, order, product, gone_product = gone
    world.work()
    assert shown(world, refund)["status"] == "SUCCEEDED"
    assert world.stock(product) == 10
    assert sums(world, order) == (2500, 2500, 2, 2500)
    ((restocked, not_restocked, reason),) = world.sql(
        "SELECT restocked::text[], not_restocked::text[], attention_reason FROM refunds"
    )
    assert (restocked, not_restocked) == ([product], [gone_product])
    assert reason == (
        f"restock was refused: product_not_found: There is no such product: {gone_product}. (product {gone_product})"
    )
    assert world.sql("SELECT refund_id::text, order_ledger_id::text FROM audit_attention") == [(refund, order)]
    assert world.sql("SELECT type FROM events ORDER BY sequence DESC LIMIT 1") == [("refund.succeeded",)]
    assert [row for row in world.audit() if row[1] == "refunds"] == []


@pytest.mark.parametrize("step", ["restock", "note"])
def test_crash_does_not_forget_a_refused_product(world, gone, step):
    world.crashes_at = {step}
    world.work()
    ((restocked, not_restocked),) = world.sql("SELECT restocked::text[], not_restocked::text[] FROM refunds")
    assert (restocked, not_restocked) == ([gone[2]], [gone[3]])
    assert world.sql("SELECT refund_id::text FROM audit_attention") == [(gone[0],)]


def test_operator_puts_refused_pieces_back_and_ends_the_attention(world, gone, url):
    refund, _, _, product = gone
    world.work()
    columns = "id, sku, name, price_cents, stock_quantity"
    world.sql(f"INSERT INTO products ({columns}) VALUES (%(id)s, 'again', 'Widget', 1250, 0)", id=product)
    body = {"quantity": 1, "reason": "return_to_stock", "reference_id": refund}
    headers = {"Idempotency-Key": "by hand"}
    client = world.apps[8200].test_client()
    assert client.post(f"/inventory/products/{product}/stock", json=body, headers=headers).status_code == 200
    assert [row for row in world.audit() if row[1] == "refunds"] == []
    assert run(url, "attention", "done", refund) == (0, f"{refund} needs no attention any more.\n", "")
    assert run(url, "attention") == (0, "Nothing needs attention.\n", "")


def test_two_claimants_refund_once(watched, sold):
    order, product = sold()
    refund = requested(watched, order, restock=True)
    watched.run_once(until=RefundStatus.PAYMENT_REFUNDED, claimant="first")
    watched.sql("UPDATE refunds SET due_at = now() WHERE due_at IS NOT NULL")
    watched.run_once(claimant="second")
    watched.work()
    assert shown(watched, refund)["status"] == "SUCCEEDED"
    assert sums(watched, order) == (2500, 2500, 2, 2500)
    assert watched.stock(product) == 10


def test_requests_carry_keys_made_of_the_refund(watched, sold):
    sent: list[Any] = []
    order, product = sold()
    deliver = watched._deliver

    def note(request: Any) -> Any:
        sent.append((request, json.loads(request.body or "null")))
        return deliver(request)

    watched._deliver = note  # type: ignore[method-assign]
    refund = requested(watched, order, restock=True)
    watched.work()
    money, pieces = sent
    assert money[1]["idempotency_key"] == f"refund:{refund}"
    assert pieces[0].headers["Idempotency-Key"] == f"restock:{refund}:{product}"
    assert pieces[1] == {"quantity": 2, "reason": "return_to_stock", "reference_id": refund}
    assert pieces[0].headers["X-Request-ID"] == money[0].headers["X-Request-ID"]
    assert uuid.UUID(refund)
