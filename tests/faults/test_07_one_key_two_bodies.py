"""Row 7: one key, two bodies. Required: 422, and no effect."""

from __future__ import annotations

from functools import partial

import requests

from tests.at_once import at_once
from tests.faults.shared_stack import SharedStack


def is_refused(response: requests.Response, order_ledger_id: str) -> bool:
    """Whether it names the reason and reveals nothing of the other request."""
    return (
        (response.status_code, response.json()["error"]) == (422, "idempotency_key_reused")
        and "Idempotency-Replayed" not in response.headers
        and order_ledger_id not in response.text
    )


def test_second_body_with_a_used_key_is_refused(stack: SharedStack) -> None:
    product = stack.product(stock=10)
    first = stack.post_order("k", product, 1).json()["order_ledger_id"]
    assert is_refused(stack.post_order("k", product, 2), first)
    stack.settle()
    assert is_refused(stack.post_order("k", product, 2), first)
    assert is_refused(stack.post_order("k", product, 1, email="other@b.example"), first)
    assert stack.sql("SELECT stock_quantity FROM products") == [(9,)]
    assert stack.count("payment_authorizations") == 1
    stack.settle()


def test_one_of_two_simultaneous_bodies_is_accepted(stack: SharedStack) -> None:
    product = stack.product(stock=10)
    answers = at_once([partial(stack.post_order, "k", product, 1 + number % 2) for number in range(24)])
    (taken,) = {answer.json()["order_ledger_id"] for answer in answers if answer.status_code == 202}
    ((quantity,),) = stack.sql("SELECT quantity FROM order_ledger_items")
    for number, answer in enumerate(answers):
        if 1 + number % 2 == quantity:
            assert answer.status_code in (202, 409)
        else:
            assert is_refused(answer, taken), answer.text
    assert stack.count("payment_authorizations") == 1
    stack.settle()
    assert stack.sql("SELECT stock_quantity FROM products") == [(10 - quantity,)]
