"""Row 76: void by id of an unknown payment. Required: it is refused, and recorded like any other undo."""

from __future__ import annotations

import requests

from tests.faults.shared_stack import PATIENCE_S, SharedStack

UNKNOWN = "auth_" + "0" * 24


def test_void_of_an_unknown_payment_leaves_a_tombstone(stack: SharedStack) -> None:
    url = f"{stack.url('payments_service')}/payments/void/{UNKNOWN}"
    answers = [requests.post(url, json={"idempotency_key": key}, timeout=PATIENCE_S) for key in ("a", "a", "b")]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "authorization_not_found")}
    assert answers[0].content == answers[1].content
    assert stack.sql("SELECT id, status FROM payment_authorizations") == [(UNKNOWN, "VOIDED")]
    stack.settle()
