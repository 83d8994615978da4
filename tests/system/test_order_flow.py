"""Orders through the five real processes."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

import psycopg2
import pytest
import requests

from holdfast_client import PaymentDeclined
from tests.system.conftest import place
from tests.system.stack import Stack

Start = Callable[..., Stack]
Settle = Callable[..., None]
NEVER = "3600"  # seconds until the next poll


def order_of(stack: Stack, product: str, token: str = "tok_visa", quantity: int = 1) -> str:
    with stack.client() as client:
        items = [{"product_id": product, "quantity": quantity}]
        placed = client.place_order(user_id=uuid.uuid4(), email="a@b.example", items=items, payment_token=token)
        return placed.order_ledger_id


def stock(stack: Stack, product: str) -> int:
    answer = requests.get(f"{stack.url('inventory_service')}/inventory/products/{product}/availability", timeout=5)
    return int(answer.json()["stock_quantity"])


def test_order_completes_by_notification_alone(start: Start, settle: Settle) -> None:
    """The next poll is an hour away, so only LISTEN and NOTIFY can complete it."""
    stack = start(POLL_INTERVAL_S=NEVER)
    product = stack.product(stock=10)
    with stack.client() as client:
        for _ in range(3):
            order = client.get_order(order_of(stack, product, quantity=2), wait=20)
            assert order.status == "COMPLETED"
    assert stock(stack, product) == 4
    assert [entry.status for entry in order.timeline] == [
        "AWAITING_AUTHORIZATION", "AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED",
    ]  # fmt: skip
    settle()


def test_declined_order_ends_at_once(start: Start, settle: Settle) -> None:
    stack = start()
    product = stack.product()
    with pytest.raises(PaymentDeclined) as error:
        order_of(stack, product, "tok_decline_insufficient")
    with stack.client() as client:
        assert client.get_order(error.value.details["order_ledger_id"]).status == "AUTHORIZATION_FAILED"
    settle()


def test_300_orders_with_a_gateway_that_fails_three_calls_in_ten(start: Start, settle: Settle, url: str) -> None:
    """Half of the failures are lost answers. Every order ends, and the books agree."""
    stack = start(orchestrators=2, MOCK_FAILURE_RATE="0.3")
    plenty, scarce = stack.product(stock=1000), stack.product(stock=20)
    placed = place(stack, plenty, 250) | place(stack, scarce, 50)
    assert len(set(placed.values())) == 300, Counter(placed.values()).most_common(3)
    settle(120)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status, count(*) FROM order_ledger GROUP BY status")
        by_status = dict(cursor.fetchall())
    connection.close()
    assert sum(by_status.values()) == 300
    assert set(by_status) <= {"COMPLETED", "FAILED"}
    assert by_status["FAILED"] >= 30
    assert stock(stack, scarce) >= 0


def test_refund_succeeds_by_notification_alone(start: Start, settle: Settle) -> None:
    """Through the client and the real processes, with the next poll an hour away."""
    stack = start(POLL_INTERVAL_S=NEVER)
    product = stack.product(stock=10)
    with stack.client() as client:
        order = client.get_order(order_of(stack, product, quantity=2), wait=20)
        items = [{"product_id": product, "quantity": 1}]
        planned = client.refund(order.order_ledger_id, reason="other", items=items, restock=True, dry_run=True)
        assert (planned.amount_cents, planned.refund_id) == (order.total_amount_cents // 2, None)
        refund = client.refund(order.order_ledger_id, reason="other", items=items, restock=True)
        assert refund.refund_id
        refund = client.get_refund(refund.refund_id, wait=20)
        assert refund.status == "SUCCEEDED"
        assert client.refunds(order.order_ledger_id) == [refund]
        assert client.get_order(order.order_ledger_id).refund_status == "partial"
    assert stock(stack, product) == 9
    settle()
