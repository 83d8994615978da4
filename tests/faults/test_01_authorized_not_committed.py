"""Row 1. The edge dies authorized, T2 not committed: the same key finishes it; else it is voided; never two holds."""

from __future__ import annotations

import pytest
import requests

from common.process.settings import Settings
from tests.faults.crashes import ORCHESTRATOR, CrashStack, ShopsOrder

POINTS = ("edge.after_authorize", "edge.in_t2")


def crash_with_a_hold(stack: CrashStack, point: str) -> ShopsOrder:
    order = ShopsOrder(stack, stack.product())
    with stack.killed_at(point, ABANDONED_AFTER_S="1"), pytest.raises(requests.ConnectionError):
        order.send()
    assert stack.by_status() == {"AWAITING_AUTHORIZATION": 1}
    assert stack.value("SELECT status FROM payment_authorizations") == "AUTHORIZED"
    return order


@pytest.mark.parametrize("point", POINTS)
def test_same_key_finishes_an_authorized_order(crashing: CrashStack, point: str) -> None:
    order = crash_with_a_hold(crashing, point)
    assert order.send_until_answered().status_code == 202
    crashing.settles(order, "COMPLETED")


@pytest.mark.parametrize("point", POINTS)
def test_abandoned_hold_is_voided(crashing: CrashStack, point: str) -> None:
    """After `ABANDONED_AFTER_S`, which is 1 s here."""
    order = crash_with_a_hold(crashing, point)
    assert crashing.value("SELECT due_at - created_at <= interval '1 s' FROM order_ledger")
    crashing.ensure(ORCHESTRATOR)
    crashing.settle()
    assert crashing.by_status() == {"AUTHORIZATION_FAILED": 1}
    assert crashing.sql("SELECT status, amount_cents FROM payment_authorizations") == [("VOIDED", 500)]
    answer = order.send()
    assert (answer.status_code, answer.json()["error"]) == (409, "request_abandoned")
    assert crashing.count("payment_authorizations") == 1


def test_default_settings_void_an_abandoned_hold_within_120_s() -> None:
    usual = Settings.load({"DATABASE_URL": "postgresql://not.asked"})
    assert max(usual.lease_s, usual.abandoned_after_s) == 60
    assert usual.poll_interval_s == 5
