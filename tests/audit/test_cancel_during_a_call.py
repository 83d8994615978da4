"""A cancel that arrives while a call is out, and the call then has no answer."""

from __future__ import annotations

import pytest

from orchestrator.saga import RetryPolicy
from tests.audit import small_world
from tests.audit.small_world import SmallWorld

IS_DUE = "SELECT status, due_at <= now(), claimed_by FROM order_ledger"


@pytest.fixture
def order(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> str:
    """An order that is cancelled during `create`, whose request is then lost. A retry waits for an hour."""
    monkeypatch.setattr(small_world, "POLICY", RetryPolicy(base_s=3600, jitter=0))
    placed = str(world.order(world.product()).json["order_ledger_id"])
    world.before["create"] = lambda: world.cancel(placed)
    world.faults["create"] = ["request"]
    return placed


def test_cancel_during_a_lost_call_does_not_wait_for_the_retry(world: SmallWorld, order: str) -> None:
    world.run_once()
    assert world.sql(IS_DUE) == [("AUTHORIZED", True, None)]
    world.run_once()
    now = world.get(f"/orders/{order}")
    assert (now["status"], now["failure"]["code"]) == ("FAILED", "cancelled")
    assert now["cancellation"]["status"] == "done"
    assert world.audit() == []


def test_undo_of_a_cancelled_order_waits_for_its_retry(world: SmallWorld, order: str) -> None:
    world.faults["cancel"] = ["request"]
    world.run_once()
    world.run_once()
    assert world.sql(IS_DUE) == [("COMPENSATING", False, None)]
