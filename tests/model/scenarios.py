"""The worlds that are explored, and the bounds of each."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from domain.states import Status
from tests.model import rules, state, world
from tests.model.design import TODAY, Design
from tests.model.explore import Exploration, Model, Violation, explore
from tests.model.ledger import PIECES
from tests.model.refunds import Wanted
from tests.model.state import World


class Scenario(NamedTuple):
    """Where a world begins, and how much may go wrong in it."""

    cards: tuple[str, ...]
    """One for each client. Each has one key and one order."""
    faults: int
    """Crashes, pauses beyond a lease, and calls whose request or response is late, lost or doubled, together."""
    stock: int = PIECES
    requests: int = 1
    """How many times each client sends its request at most."""
    cancels: int = 0
    """How many times each client asks for the cancellation of its order at most."""
    refunds: tuple[Wanted, ...] = ()
    at: Status | None = None
    """If given, where each order stands in the beginning. It has come there without a fault, and nobody works on it."""
    is_gone: bool = False
    """Whether the product was deleted meanwhile."""

    @property
    def begin(self) -> World:
        world_ = state.begin(
            self.cards,
            stock=self.stock,
            requests=self.requests,
            faults=self.faults,
            cancels=self.cancels,
            wanted=self.refunds,
        )
        began = _brought(world_, self.at) if self.at else world_
        return began._replace(books=began.books._replace(is_gone=self.is_gone))


ALL, SOME, ONE_PIECE = Wanted(is_restocked=True), Wanted(amount=400), Wanted(pieces=1, is_restocked=True)
VISA = ("tok_visa",)

SCENARIOS = {
    "a sale": Scenario(VISA, requests=2, faults=3),
    "nothing in stock": Scenario(VISA, stock=0, requests=2, faults=3),
    "a declined card": Scenario(("tok_decline_insufficient",), requests=2, faults=4),
    "a refused capture": Scenario(("tok_fail_capture",), requests=2, faults=2),
    "two orders for the last pieces": Scenario(VISA * 2, requests=1, faults=1),
    "a cancel": Scenario(VISA, faults=2, cancels=1),
    "two cancels, two requests": Scenario(VISA, requests=2, faults=1, cancels=2),
    "a cancel, and nothing in stock": Scenario(VISA, stock=0, faults=1, cancels=1),
    "a cancel, and a declined card": Scenario(("tok_decline_insufficient",), faults=2, cancels=1),
    "a cancel or a refund": Scenario(VISA, faults=2, cancels=2, refunds=(ALL,), at=Status.PAYMENT_CAPTURED),
    "a cancel, and the refund is pending": Scenario(
        ("tok_pending_refund",), faults=1, cancels=1, at=Status.PAYMENT_CAPTURED
    ),
    "a refund": Scenario(VISA, faults=3, refunds=(ALL._replace(sends=2),), at=Status.COMPLETED),
    "two refunds at once": Scenario(VISA, faults=2, refunds=(SOME, ALL), at=Status.COMPLETED),
    "two refunds of a piece": Scenario(VISA, faults=1, refunds=(ONE_PIECE, ONE_PIECE), at=Status.COMPLETED),
    "a refused refund": Scenario(("tok_fail_refund",), faults=2, refunds=(ALL, SOME), at=Status.COMPLETED),
    "a pending refund": Scenario(("tok_pending_refund",), faults=2, refunds=(ALL,), at=Status.COMPLETED),
    "a product that is gone": Scenario(VISA, faults=2, refunds=(ALL,), at=Status.COMPLETED, is_gone=True),
}


def _brought(begin: World, at: Status) -> World:
    """The world once each order has this status, if nothing goes wrong."""
    actions = (world.client_sends, world.orchestrator_claims, world.thread_goes_on)
    now = begin._replace(faults=0)
    while any(entry is None or entry.status != at for entry in now.entries):
        now = next(step for action in actions for step in action(TODAY, now)).state
    entries = tuple(entry and entry._replace(is_leased=False) for entry in now.entries)
    clients = tuple(client._replace(requests=0) for client in now.clients)
    return state.canonical(now._replace(clients=clients, entries=entries, threads=(), faults=begin.faults))


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
