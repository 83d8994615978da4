"""Row 2. The edge dies after T1, before the call: the same key finishes it; else it is closed; never two holds."""

from __future__ import annotations

import pytest
import requests

from tests.faults.crashes import ORCHESTRATOR, CrashStack, ShopsOrder

POINTS = ("edge.after_t1",)


def crash_without_a_hold(stack: CrashStack) -> ShopsOrder:
    order = ShopsOrder(stack, stack.product())
    with stack.killed_at(*POINTS, ABANDONED_AFTER_S="1"), pytest.raises(requests.ConnectionError):
        order.send()
    assert stack.by_status() == {"AWAITING_AUTHORIZATION": 1}
    assert stack.count("payment_authorizations") == 0
    return order


def test_same_key_finishes_an_unauthorized_entry(crashing: CrashStack) -> None:
    order = crash_without_a_hold(crashing)
    assert order.send_until_answered().status_code == 202
    crashing.settles(order, "COMPLETED")


def test_abandoned_entry_is_closed_permanently(crashing: CrashStack) -> None:
    order = crash_without_a_hold(crashing)
    crashing.ensure(ORCHESTRATOR)
    crashing.settle()
    assert crashing.by_status() == {"AUTHORIZATION_FAILED": 1}
    assert crashing.sql("SELECT status, amount_cents FROM payment_authorizations") == [("VOIDED", None)], "a tombstone"
    answer = order.send()
    assert (answer.status_code, answer.json()["error"]) == (409, "request_abandoned")
