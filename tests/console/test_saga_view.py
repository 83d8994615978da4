"""The drawing of a saga: its steps, where it stands, and what is undone."""

from __future__ import annotations

from typing import Any

import pytest

from console.saga_view import steps_of
from domain.states import Status
from orchestrator.definitions import SALE

FORWARD = ["authorize_payment", *(step.do for step in SALE)]


def drawn(status: str, compensating_from: str | None = None, *undone: str) -> list[tuple[str, str, bool]]:
    order: dict[str, Any] = {"status": status, "compensating_from": compensating_from, "undone": list(undone)}
    return [(step["action"], step["state"], step["is_undo"]) for step in steps_of(order)]


@pytest.mark.parametrize(("status", "done"), [
    (Status.AWAITING_AUTHORIZATION, 0), (Status.AUTHORIZED, 1), (Status.ORDER_CREATED, 2),
    (Status.INVENTORY_RESERVED, 3), (Status.PAYMENT_CAPTURED, 4),
])  # fmt: skip
def test_running_order_stands_at_its_next_step(status: Status, done: int) -> None:
    states = ["done"] * done + ["now"] + ["open"] * (len(FORWARD) - done - 1)
    assert drawn(status) == [(action, state, False) for action, state in zip(FORWARD, states, strict=True)]


def test_completed_order_is_done() -> None:
    assert drawn(Status.COMPLETED) == [(action, "done", False) for action in FORWARD]


def test_refused_payment_stops_the_order_before_its_first_step() -> None:
    states = [state for _, state, _ in drawn(Status.AUTHORIZATION_FAILED)]
    assert "done" not in states
    assert "now" not in states


@pytest.mark.parametrize("step", SALE, ids=lambda step: str(step.at))
def test_order_that_turns_back_shows_what_is_undone(step: Any) -> None:
    first, *others = step.undo
    before = drawn(Status.COMPENSATING, step.at)
    assert next(each[1:] for each in before if each[0] == first and each[2]) == ("now", True)
    after = drawn(Status.COMPENSATING, step.at, first)
    undos = [each for each in after if each[2]]
    assert undos[0] == (first, "done", True)
    assert [state for _, state, _ in undos[1:]] == (["now"] + ["open"] * (len(others) - 1) if others else [])
    assert next(state for action, state, is_undo in after if action == step.do and not is_undo) == "stopped here"


@pytest.mark.parametrize("step", SALE, ids=lambda step: str(step.at))
def test_failed_order_is_undone(step: Any) -> None:
    undos = [state for _, state, is_undo in drawn(Status.FAILED, step.at, *step.undo) if is_undo]
    assert undos == ["done"] * len(step.undo)
    assert "now" not in [state for _, state, _ in drawn(Status.FAILED, step.at, *step.undo)]
