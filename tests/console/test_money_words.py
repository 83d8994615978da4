"""What an order's page says about the money, for each state of its payment."""

from __future__ import annotations

from typing import Any

import pytest

from console import money_words

PAYMENT = {"status": "AUTHORIZED", "amount_cents": 2400, "captured_cents": None, "refunded_cents": 0}
CAPTURED = PAYMENT | {"status": "CAPTURED", "captured_cents": 2400}
REFUNDED = CAPTURED | {"status": "REFUNDED", "refunded_cents": 2400}
DECLINED = PAYMENT | {"status": "DECLINED"}


def told(status: str, *payments: dict[str, Any]) -> str:
    return money_words.told({"status": status, "currency": "USD", "payments": list(payments)})


@pytest.mark.parametrize(
    ("status", "payment", "words"),
    [
        ("AUTHORIZED", PAYMENT, "24.00 USD is held for the customer. Nothing is charged yet."),
        ("AUTHORIZATION_FAILED", DECLINED, "The payment of 24.00 USD was declined. Nothing was charged."),
        ("FAILED", PAYMENT | {"status": "VOIDED"}, "The hold of 24.00 USD was released. Nothing was charged."),
        ("FAILED", PAYMENT, "24.00 USD is still held, and should not be. Nothing was charged."),
        ("COMPENSATING", PAYMENT, "24.00 USD is held until the sale is undone. Nothing was charged."),
        ("COMPENSATING", CAPTURED, "24.00 USD was charged. The undoing of the sale returns it."),
        ("COMPENSATING", REFUNDED, "24.00 USD was charged, and all of it was returned."),
        ("COMPLETED", CAPTURED, "24.00 USD was charged."),
        ("COMPLETED", CAPTURED | {"refunded_cents": 1999}, "24.00 USD was charged, and 19.99 USD of it was returned."),
        ("FAILED", REFUNDED, "24.00 USD was charged, and all of it was returned."),
    ],
)  # fmt: skip
def test_sentence_says_what_is_held_charged_and_returned(status: str, payment: dict[str, Any], words: str) -> None:
    assert told(status, payment) == words


@pytest.mark.parametrize("payments", [[], [PAYMENT | {"amount_cents": None, "status": "PENDING"}]])
def test_order_without_a_payment_says_so(payments: list[dict[str, Any]]) -> None:
    assert told("AWAITING_AUTHORIZATION", *payments) == "No payment was made."
