"""Row 72: payment tokens of digital wallets. Required: up to 8,192 characters, through every service."""

from __future__ import annotations

import json

import pytest
import requests

from tests.faults.shared_stack import PATIENCE_S, SharedStack

MAX_TOKEN = 8192
TOKENS = {
    "a digital wallet's": "eyJ" + "x" * 3497,
    "the longest": "t" * MAX_TOKEN,
    "the longest of the largest characters": "\N{CREDIT CARD}" * MAX_TOKEN,
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_long_tokens_are_accepted(stack: SharedStack, token: str) -> None:
    lines = [{"product_id": stack.product(), "quantity": 1} for _ in range(50)]
    body = stack.order_body("", items=lines, payment={"method": "card", "token": token})
    sent = json.dumps(body, ensure_ascii=False).encode()
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    answer = requests.post(f"{stack.url('web')}/orders", data=sent, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 202, answer.text
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1}


def test_longer_token_is_refused(stack: SharedStack) -> None:
    payment = {"method": "card", "token": "t" * (MAX_TOKEN + 1)}
    answer = stack.post_order("k", stack.product(), payment=payment)
    assert (answer.status_code, answer.json()["error"]) == (400, "validation_error")
    assert "token" in answer.json()["details"]["payment"]
    assert stack.by_status() == {}
