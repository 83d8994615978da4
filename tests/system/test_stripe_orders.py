"""Whole orders with Stripe behind the payments service: real processes, and the double in Stripe's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from holdfast_client import PaymentDeclined
from tests.payments_service.stripe_worlds import KEY, Double, double
from tests.system.conftest import place
from tests.system.stack import Stack
from tests.waiting import eventually

Start = Callable[..., Stack]
Settle = Callable[..., None]


@pytest.fixture
def stripe(tmp_path: Path) -> Iterator[Double]:
    with double(tmp_path) as running:
        yield running
        assert running.wrong == []


@pytest.fixture
def stack(start: Start, stripe: Double) -> Stack:
    return start(PAYMENT_GATEWAY="stripe", STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url)


def money(stripe: Double) -> tuple[int, int, int]:
    sums = stripe.control("look")
    return sums["held"], sums["captured"], sums["refunded"]


def test_sale_decline_no_stock_and_refund(stack: Stack, stripe: Double, settle: Settle) -> None:
    product, sold_out = stack.product(stock=10), stack.product(stock=0)
    buyer = {"user_id": uuid.uuid4(), "email": "a@b.example"}
    with stack.client() as client:

        def order(product_id: str, token: str = "pm_card_visa") -> str:
            items = [{"product_id": product_id, "quantity": 1}]
            return client.place_order(**buyer, items=items, payment_token=token).order_ledger_id

        sold = client.get_order(order(product), wait=20)
        assert sold.status == "COMPLETED"
        assert money(stripe) == (0, sold.total_amount_cents, 0)
        with pytest.raises(PaymentDeclined) as declined:
            order(product, "pm_card_visa_chargeDeclinedInsufficientFunds")
        assert declined.value.details["decline_code"] == "insufficient_funds"
        assert client.get_order(order(sold_out), wait=20).status == "FAILED"
        assert money(stripe) == (0, sold.total_amount_cents, 0)
    refund = requests.post(
        f"{stack.url('web')}/orders/{sold.order_ledger_id}/refunds",
        json={"reason": "other"},
        headers={"Idempotency-Key": "r"},
        timeout=30,
    ).json()
    ended = requests.get(f"{stack.url('web')}/refunds/{refund['refund_id']}?wait=20", timeout=30).json()
    assert ended["status"] == "SUCCEEDED"
    settle()
    assert money(stripe) == (0, sold.total_amount_cents, sold.total_amount_cents)


def test_refund_that_fails_days_later_is_told_to_the_shop(start: Start, stripe: Double, settle: Settle) -> None:
    """Stripe's message lets the next question come at once. The order, its events and the books agree again."""
    secret = "whsec_of_this_test"
    stack = start(
        PAYMENT_GATEWAY="stripe", STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url, STRIPE_WEBHOOK_SECRET=secret,
        GATEWAY_POLL_INTERVAL_S="0.2",
    )  # fmt: skip
    stripe.control("webhook", url=f"{stack.url('payments_service')}/payments/webhooks/stripe", secret=secret)
    product = stack.product(stock=3)
    with stack.client() as client:
        placed = client.place_order(
            user_id=uuid.uuid4(), email="a@b.example", items=[{"product_id": product, "quantity": 2}],
            payment_token="pm_card_visa",
        )  # fmt: skip
        order = client.get_order(placed.order_ledger_id, wait=20)
        refund = client.refund(order.order_ledger_id, reason="other", restock=True)
        assert client.get_refund(refund.refund_id, wait=20).status == "SUCCEEDED"
        stripe.control("end_refunds", status="failed", **{"from": "succeeded"})
        eventually(lambda: client.get_refund(refund.refund_id).status == "FAILED")
        assert getattr(client.get_refund(refund.refund_id).failure, "code", None) == "refund_failed_later"
        assert client.get_order(order.order_ledger_id).refunded_cents == 0
        told = [event.type for event in client.events(order_ledger_id=order.order_ledger_id)]
        assert told == ["order.authorized", "order.completed", "refund.succeeded", "refund.failed"]
        again = client.refund(order.order_ledger_id, reason="other", amount_cents=order.total_amount_cents)
        assert client.get_refund(again.refund_id, wait=20).status == "SUCCEEDED"
    settle()
    assert money(stripe) == (0, order.total_amount_cents, order.total_amount_cents)


def test_orders_while_stripe_loses_one_request_or_answer_in_five(
    stack: Stack, stripe: Double, settle: Settle, url: str
) -> None:
    start = datetime.now(UTC)
    product, scarce = stack.product(stock=100), stack.product(stock=5)
    for kind in ("lost_before", "lost_after"):
        stripe.fault("any", kind, rate=0.1)
    placed = place(stack, product, 30, token="pm_card_visa") | place(stack, scarce, 10, token="pm_card_visa")
    assert len(set(placed.values())) == 40
    settle(120)
    stripe.control("end_faults")
    command = [sys.executable, "-m", "ops", "reconcile", "--format", "json", "--from", start.isoformat()]
    environ = {**os.environ, "DATABASE_URL": url, "PAYMENTS_SERVICE_URL": stack.url("payments_service")}
    compared = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert json.loads(compared.stdout)["payments_compared"] == 40
    with stack.client() as client:
        orders = [client.get_order(id_) for id_ in placed.values()]
    held, captured, refunded = money(stripe)
    completed = sum(each.total_amount_cents for each in orders if each.status == "COMPLETED")
    assert (held, captured - refunded) == (0, completed)
