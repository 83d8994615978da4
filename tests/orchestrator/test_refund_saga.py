"""The refund's definition: what each answer means at each of its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.calls.client import No, Nothing, Yes
from domain.refunds import LEGAL_MOVES, RefundStatus
from orchestrator.definitions import REFUND, SALE
from orchestrator.saga import Deferred, Pending, Refund, RetryPolicy, after

POLICY = RetryPolicy(jitter=0)
A, B, C = "a", "b", "c"


def refund(status: RefundStatus = RefundStatus.REQUESTED, restock: bool = True, **changes: Any) -> Refund:
    fixed = {
        "id": "11111111-1111-4111-8111-111111111111",
        "claim_number": 1,
        "request_id": "r",
        "order_ledger_id": "22222222-2222-4222-8222-222222222222",
        "payment_authorization_id": "auth_1",
        "amount_cents": 500,
        "items": tuple({"product_id": product, "quantity": 1} for product in (A, B)),
    }
    return Refund(**(fixed | {"status": status, "restock": restock} | changes))


def walked(saga: Refund) -> list[str]:
    """The actions of a refund whose answers are all yes, and the states that they lead to."""
    steps = []
    while not saga.status.is_terminal:
        action = saga.next_action
        saga = after(saga, Yes({}), POLICY)
        steps.append(f"{action}: {saga.status}")
    return steps


def test_the_money_comes_first_and_then_each_product() -> None:
    assert walked(refund()) == [
        "refund_payment: PAYMENT_REFUNDED",
        "restock: PAYMENT_REFUNDED",
        "restock: RESTOCKED",
        "note: SUCCEEDED",
    ]


@pytest.mark.parametrize("changes", [{"restock": False}, {"restock": False, "items": ()}])
def test_without_restock_only_the_money_is_refunded(changes: dict[str, Any]) -> None:
    assert walked(refund(**changes)) == ["refund_payment: PAYMENT_REFUNDED", "note: SUCCEEDED"]


def test_steps_make_only_legal_moves() -> None:
    for step in REFUND:
        assert {step.reaches, *([step.refused] if step.refused else [])} <= LEGAL_MOVES[RefundStatus(step.at)]


def test_only_the_steps_of_a_sale_are_undone() -> None:
    assert all(step.undo for step in SALE)
    assert not any(step.undo for step in REFUND)


def test_refused_money_ends_the_refund() -> None:
    now = after(refund(retry_count=3, attention="x"), No("refund_declined", "No."), POLICY)
    assert (now.status, now.failure, now.attention) == (RefundStatus.FAILED, ("refund_declined", "No."), None)


@pytest.mark.parametrize("status", [RefundStatus.REQUESTED, RefundStatus.PAYMENT_REFUNDED])
def test_unanswered_step_is_asked_for_ever_more_slowly(status: RefundStatus) -> None:
    saga, delays, attention = refund(status), [], []
    for _ in range(7):
        saga = replace(after(saga, Nothing("lost"), POLICY), stalled_s=1)
        assert saga.status == status
        delays.append(saga.retry_in_s)
        attention.append(bool(saga.attention))
        saga = replace(saga, retry_in_s=None)
    assert delays == [1, 4, 16, 64, 300, 300, 300]
    assert attention == [False] * 4 + [True] * 3


def test_pending_refund_uses_up_no_attempts() -> None:
    now = after(refund(retry_count=3, attention="was down"), Pending("not settled"), POLICY)
    assert (now.status, now.retry_count, now.retry_in_s, now.attention) == (RefundStatus.REQUESTED, 0, 1, None)


@pytest.mark.parametrize(("waited", "delay"), [(0, 1), (0.5, 1), (5, 5), (600, 600), (3600, 3600), (200_000, 3600)])
def test_pending_refund_is_asked_for_ever_more_slowly(waited: float, delay: float) -> None:
    assert after(refund(stalled_s=waited), Pending("not settled"), POLICY).retry_in_s == delay


@pytest.mark.parametrize(("days", "attention"), [(2.9, None), (3.1, "not settled")])
def test_refund_that_is_pending_for_days_needs_attention(days: float, attention: str | None) -> None:
    assert after(refund(stalled_s=days * 86_400), Pending("not settled"), POLICY).attention == attention


def test_each_product_is_noted() -> None:
    saga = refund(RefundStatus.PAYMENT_REFUNDED)
    assert saga.next_product == A
    saga = after(saga, Yes({}), POLICY)
    assert (saga.done_products, saga.next_product, saga.retry_in_s) == ((A,), B, None)


def test_refused_product_needs_attention_and_holds_up_no_other() -> None:
    saga = refund(RefundStatus.PAYMENT_REFUNDED)
    saga = after(saga, No("product_not_found", "Gone."), POLICY)
    assert (saga.next_product, saga.retry_in_s) == (B, None)
    assert saga.attention == "restock was refused: product_not_found: Gone. (product a)"
    saga = after(saga, Yes({}), POLICY)
    assert (saga.status, saga.done_products, saga.refused_products) == (RefundStatus.RESTOCKED, (B,), (A,))
    saga = after(saga, Yes({}), POLICY)
    assert saga.status == RefundStatus.SUCCEEDED
    assert saga.attention == "restock was refused: product_not_found: Gone. (product a)"


def test_refund_succeeds_though_all_products_are_refused() -> None:
    saga = refund(RefundStatus.PAYMENT_REFUNDED)
    for _ in range(2):
        saga = after(saga, No("product_not_found", "Gone."), POLICY)
        assert saga.retry_in_s is None
    assert (saga.status, saga.done_products, saga.refused_products) == (RefundStatus.RESTOCKED, (), (A, B))
    assert saga.attention == (
        "restock was refused: product_not_found: Gone. (product a);"
        " restock was refused: product_not_found: Gone. (product b)"
    )


def test_reason_of_a_refused_product_stays_while_another_gets_no_answer() -> None:
    saga = after(refund(RefundStatus.PAYMENT_REFUNDED), No("product_not_found", "Gone."), POLICY)
    reason = saga.attention
    for _ in range(6):
        saga = replace(after(saga, Nothing("lost"), POLICY), retry_in_s=None)
        assert (saga.next_product, saga.attention) == (B, reason)


def test_each_product_has_attempts_of_its_own() -> None:
    saga = refund(RefundStatus.PAYMENT_REFUNDED, retry_count=6, attention="restock got no answer")
    saga = after(saga, Yes({}), POLICY)
    assert (saga.status, saga.retry_count, saga.attention) == (RefundStatus.PAYMENT_REFUNDED, 0, None)


def test_participant_that_is_down_for_long_needs_attention() -> None:
    assert after(refund(stalled_s=84), Deferred(1), POLICY).attention is None
    assert after(refund(stalled_s=86), Deferred(1), POLICY).attention
