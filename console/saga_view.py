"""The saga of an order as a drawing: its steps, where it stands, and what is undone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from common.database.database import Row
from domain.states import Status
from orchestrator.definitions import SALE

DONE, NOW, OPEN, STOPPED, LEFT_OUT = "done", "now", "open", "stopped here", "left out"


@dataclass(frozen=True)
class DrawnStep:
    action: str
    state: str
    """`done`, `now`, `open`, `stopped here` or `left out`."""
    is_undo: bool = False


def steps_of(order: Row) -> list[dict[str, Any]]:
    """The steps of the sale, and behind them those that undo it."""
    return [asdict(step) for step in _steps(order)]


def _steps(order: Row) -> list[DrawnStep]:
    status, from_ = Status(order["status"]), order["compensating_from"]
    if status in (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_FAILED):
        first, others = (NOW, OPEN) if status == Status.AWAITING_AUTHORIZATION else (STOPPED, LEFT_OUT)
        return [DrawnStep("authorize_payment", first), *(DrawnStep(step.do, others) for step in SALE)]
    reached = Status(from_) if from_ and status in (Status.COMPENSATING, Status.FAILED) else status
    found = [DrawnStep("authorize_payment", DONE)]
    is_done = True
    for step in SALE:
        if step.at == reached:
            is_done = False
            found.append(DrawnStep(step.do, NOW if reached == status else STOPPED))
        else:
            found.append(DrawnStep(step.do, DONE if is_done else OPEN if reached == status else LEFT_OUT))
    if reached != status:
        found += _undos(order, reached)
    return found


def _undos(order: Row, reached: Status) -> list[DrawnStep]:
    undo = next(step.undo for step in SALE if step.at == reached)
    left = [action for action in undo if action not in order["undone"]]
    return [
        DrawnStep(action, DONE if action in order["undone"] else NOW if action == left[0] else OPEN, is_undo=True)
        for action in undo
    ]
