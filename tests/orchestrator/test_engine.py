"""The engine: ask, decide, save. Participants and ledger are plain functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from common.calls.client import Answer, No, Nothing, Yes
from common.process.logs import request_id
from domain.states import Status
from orchestrator.engine import Engine
from orchestrator.saga import Deferred, RetryPolicy, Saga
from tests.orchestrator.sagas import saga


@dataclass
class World:
    """Participants that answer by a script, then always yes, and a ledger that remembers what was saved."""

    script: dict[str, list[Answer | Deferred]] = field(default_factory=dict)
    keeps_claim: bool = True
    asked: list[str] = field(default_factory=list)
    saved: list[Saga] = field(default_factory=list)
    released: list[Saga] = field(default_factory=list)
    stop_after: int = 1000
    cancelled_at: Status | None = None
    """The checkpoint by which the client has cancelled the order."""

    def ask(self, one: Saga) -> Answer | Deferred:
        assert request_id.get() == one.request_id
        self.asked.append(one.next_action)
        answers = self.script.get(one.next_action, [])
        return answers.pop(0) if answers else Yes({})

    def save(self, was: Saga, now: Saga) -> Saga | None:
        self.saved.append(now)
        is_cancelled = now.is_cancelled or now.status == self.cancelled_at
        return replace(now, is_cancelled=is_cancelled) if self.keeps_claim else None

    def run(self, one: Saga) -> Saga:
        def is_stopping() -> bool:
            return len(self.asked) >= self.stop_after

        return Engine(self.ask, self.save, self.released.append, RetryPolicy(jitter=0), is_stopping).run(one)


def test_runs_to_the_end_and_saves_each_step() -> None:
    world = World()
    assert world.run(saga()).status == Status.COMPLETED
    assert world.asked == ["create_order", "reserve_inventory", "capture_payment", "confirm_order"]
    assert [each.status for each in world.saved] == [
        "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED",
    ]  # fmt: skip


def test_refusal_is_compensated_in_the_same_run() -> None:
    world = World({"reserve_inventory": [No("insufficient_stock", "Sold out.")]})
    assert world.run(saga()).status == Status.FAILED
    assert world.asked == ["create_order", "reserve_inventory", "void_payment", "release_inventory", "cancel_order"]


def test_missing_answer_ends_the_run_and_frees_the_thread() -> None:
    world = World({"capture_payment": [Nothing("ReadTimeout")]})
    result = world.run(saga())
    assert (result.status, result.retry_count, result.retry_in_s) == (Status.INVENTORY_RESERVED, 1, 1)
    assert world.asked[-1] == "capture_payment"


def test_lost_claim_stops_the_run_at_once() -> None:
    world = World(keeps_claim=False)
    world.run(saga())
    assert world.asked == ["create_order"]


def test_shutdown_saves_the_call_in_flight_and_releases_the_claim() -> None:
    world = World(stop_after=2)
    result = world.run(saga())
    assert result.status == Status.INVENTORY_RESERVED
    assert [each.status for each in world.released] == [Status.INVENTORY_RESERVED]


def test_open_circuit_costs_no_attempt() -> None:
    world = World({"create_order": [Deferred(3)]})
    result = world.run(saga())
    assert (result.retry_count, result.retry_in_s) == (0, 3)


# Cancelled orders


UNDO = {
    Status.AUTHORIZED: ["void_payment", "cancel_order"],
    Status.ORDER_CREATED: ["void_payment", "release_inventory", "cancel_order"],
    Status.INVENTORY_RESERVED: ["void_payment", "release_inventory", "cancel_order"],
    Status.PAYMENT_CAPTURED: ["cancel_order", "void_payment", "release_inventory"],
}
DONE = ["create_order", "reserve_inventory", "capture_payment"]


@pytest.mark.parametrize("status", list(UNDO))
def test_cancelled_saga_turns_back_at_its_next_checkpoint(status: Status) -> None:
    world = World(cancelled_at=status)
    begun = saga(is_cancelled=True) if status == Status.AUTHORIZED else saga()
    ended = world.run(begun)
    assert (ended.status, ended.failure) == (Status.FAILED, ("cancelled", "The order was cancelled."))
    assert world.asked == DONE[: list(UNDO).index(status)] + UNDO[status]
    assert world.saved[-len(UNDO[status]) - 1].status == Status.COMPENSATING, "saved before anything is undone"


def test_cancelled_saga_asks_no_participant_before_it_turns_back() -> None:
    """Also if it waited for the retry of a step, which may have had its effect."""
    world = World()
    world.run(saga(status=Status.INVENTORY_RESERVED, retry_count=3, is_cancelled=True))
    assert world.asked[0] == "void_payment"
    assert world.saved[0].retry_count == 0


def test_cancel_during_the_confirmation_is_too_late() -> None:
    world = World(cancelled_at=Status.COMPLETED)
    assert world.run(saga()).status == Status.COMPLETED
    assert world.asked[-1] == "confirm_order"


def test_confirmation_without_an_answer_stands_if_the_order_turns_out_to_be_confirmed() -> None:
    confirmed = No("invalid_status_transition", "It is confirmed.", {"current_status": "CONFIRMED"})
    world = World({"cancel_order": [confirmed]})
    ended = world.run(saga(status=Status.PAYMENT_CAPTURED, retry_count=1, is_cancelled=True))
    assert (ended.status, ended.failure) == (Status.COMPLETED, None)
    assert world.asked == ["cancel_order"]


def test_cancel_changes_nothing_for_a_saga_that_turns_back_already() -> None:
    world = World({"reserve_inventory": [No("insufficient_stock", "Sold out.")]}, cancelled_at=Status.COMPENSATING)
    ended = world.run(saga())
    assert ended.failure == ("insufficient_stock", "Sold out."), "the ledger replaces it, with the last checkpoint"
    assert world.asked[2:] == ["void_payment", "release_inventory", "cancel_order"]
