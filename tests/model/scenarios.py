"""The worlds that are explored, and the bounds of each."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from tests.model import rules, state, world
from tests.model.design import TODAY, Design
from tests.model.explore import Exploration, Model, Violation, explore
from tests.model.state import World


class Scenario(NamedTuple):
    """Where a world begins, and how much may go wrong in it."""

    cards: tuple[str, ...]
    """One for each client. Each has one key and one order for one piece."""
    stock: int
    requests: int
    """How many times each client sends its request at most."""
    faults: int
    """Crashes, pauses beyond a lease, and calls whose request or response is late, lost or doubled, together."""

    @property
    def begin(self) -> World:
        return state.begin(self.cards, stock=self.stock, requests=self.requests, faults=self.faults)


SCENARIOS = {
    "a sale": Scenario(("tok_visa",), stock=1, requests=2, faults=4),
    "nothing in stock": Scenario(("tok_visa",), stock=0, requests=2, faults=3),
    "a declined card": Scenario(("tok_decline_insufficient",), stock=1, requests=2, faults=4),
    "a refused capture": Scenario(("tok_fail_capture",), stock=1, requests=2, faults=3),
    "two orders for one piece": Scenario(("tok_visa", "tok_visa"), stock=1, requests=1, faults=2),
}


def check(scenario: Scenario, design: Design = TODAY) -> Exploration[World]:
    """Explore a scenario completely, or up to the first violation."""
    model = Model(
        scenario.begin,
        partial(world.steps, design),
        state.canonical if design.only_compares_claims else lambda same: same,
        rules.wrong_state,
        rules.wrong_step,
        state.is_end,
    )
    with _without_garbage_collection():
        return explore(model)


def first_violation(scenario: Scenario, design: Design) -> Violation[World] | None:
    """The violation that needs the fewest faults, and of those the one with the fewest steps."""
    bounded = (check(scenario._replace(faults=faults), design) for faults in range(scenario.faults + 1))
    return next((seen.violation for seen in bounded if seen.violation), None)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """States are kept, and have no cycles. Looking for cycles takes two thirds of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
