"""The engine: ask, decide, save. Participants and ledger are plain functions."""

from __future__ import annotations

from dataclasses import dataclass, field

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

    def ask(self, one: Saga) -> Answer | Deferred:
        assert request_id.get() == one.request_id
        self.asked.append(one.next_action)
        answers = self.script.get(one.next_action, [])
        return answers.pop(0) if answers else Yes({})

    def save(self, was: Saga, now: Saga) -> bool:
        self.saved.append(now)
        return self.keeps_claim

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
