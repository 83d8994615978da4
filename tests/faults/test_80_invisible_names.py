"""Row 80: names and notes of invisible characters. Required: 400; scripts and emoji are kept unchanged."""

from __future__ import annotations

import uuid

import pytest
import requests

from tests.faults.shared_stack import PATIENCE_S, SharedStack

INVISIBLE = {
    "spaces": " \u00a0\u3000",
    "zero-width": "\u200b\u200d\ufeff",
    "bidi": "\u202e\u2066\u2069",
    "unassigned": "\u0378",
    "blank letters": "\u3164\u2800",
}
VISIBLE = ("☕", "قهوة", "कॉफ़ी", "👩‍👩‍👧 family mug", "\u200fקפה")


def create(stack: SharedStack, name: str) -> requests.Response:
    body = {"name": name, "sku": uuid.uuid4().hex, "price_cents": 1, "initial_stock": 0}
    return requests.post(f"{stack.url('inventory_service')}/inventory/products", json=body, timeout=PATIENCE_S)


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_invisible_text_is_refused(stack: SharedStack, text: str) -> None:
    product = stack.product()
    answers = [create(stack, text)]
    for field in ("notes", "reference_id"):
        answers.append(
            requests.post(
                f"{stack.url('inventory_service')}/inventory/products/{product}/stock",
                json={"quantity": 1, "reason": "correction", field: text},
                headers={"Idempotency-Key": field},
                timeout=PATIENCE_S,
            )
        )
    void = {"idempotency_key": "k", "authorization_key": "a", "reason": text}
    answers.append(requests.post(f"{stack.url('payments_service')}/payments/void", json=void, timeout=PATIENCE_S))
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(400, "validation_error")] * 4
    assert [set(answer.json()["details"]) for answer in answers] == [{"name"}, {"notes"}, {"reference_id"}, {"reason"}]
    stack.settle()


def test_names_in_any_script_are_kept(stack: SharedStack) -> None:
    answers = [create(stack, name) for name in VISIBLE]
    assert [answer.json().get("name") for answer in answers] == list(VISIBLE)
    stack.settle()
