"""Explores every state of a model, breadth first. It knows nothing about what the states mean.

Each state is kept in memory as it is. Nothing is random, nothing is hashed away, and no interleaving is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

State = TypeVar("State", bound=Hashable)


class Step(NamedTuple):
    """One atomic step: what happens, the state after it, and whether it is a fault, which nobody can rely on."""

    what: Any
    state: Any
    is_fault: bool = False


@dataclass(frozen=True)
class Violation(Generic[State]):
    """What is wrong, and a shortest path to it from an initial state."""

    reason: str
    begin: State
    path: tuple[Step, ...]


@dataclass(frozen=True)
class Model(Generic[State]):
    """What to explore, and what must hold."""

    initial: Iterable[State]
    steps: Callable[[State], Iterable[Step]]
    wrong_state: Callable[[State], str | None] = lambda _: None
    """Says what is wrong with a state. It is asked once for each state."""
    wrong_step: Callable[[State, State], str | None] = lambda *_: None
    """Says what is wrong with a step between two states. It is asked for each step."""
    is_end: Callable[[State], bool] | None = None
    """If given, every state must be able to reach an end by steps that are not faults."""


@dataclass
class Exploration(Generic[State]):
    """What was seen. `violation` is None if every rule holds in every state."""

    states: list[State] = field(default_factory=list)
    steps: int = 0
    violation: Violation[State] | None = None


def explore(model: Model[State]) -> Exploration[State]:
    """Visit every reachable state, those with the fewest steps first. Stop at the first violation."""
    seen = _Seen(model)
    for state in model.initial:
        seen.add(state, None)
    for number, state in enumerate(seen.result.states):  # grows while we walk it
        if seen.result.violation:
            break
        for step in model.steps(state):
            seen.result.steps += 1
            seen.add(step.state, (number, step))
    if model.is_end and not seen.result.violation:
        seen.check_ends()
    return seen.result


class _Seen(Generic[State]):
    """The states seen so far, each with the step that led to it first."""

    def __init__(self, model: Model[State]) -> None:
        self.model = model
        self.result: Exploration[State] = Exploration()
        self._numbers: dict[State, int] = {}
        self._first_steps: list[tuple[int, Step] | None] = []
        self._before: list[list[int]] = []
        """For each state, those from which it is reached without a fault."""

    def add(self, state: State, by: tuple[int, Step] | None) -> None:
        number = self._numbers.setdefault(state, len(self._numbers))
        is_new = number == len(self._first_steps)
        if is_new:
            self.result.states.append(state)
            self._first_steps.append(by)
            self._before.append([])
        if by and not by[1].is_fault:
            self._before[number].append(by[0])
        reason = by and self.model.wrong_step(self.result.states[by[0]], state)
        reason = reason or (self.model.wrong_state(state) if is_new else None)
        if reason and not self.result.violation:
            self.result.violation = self._violation(reason, by)

    def check_ends(self) -> None:
        assert self.model.is_end
        can_end = {number for number, state in enumerate(self.result.states) if self.model.is_end(state)}
        waiting = list(can_end)
        while waiting:
            new = set(self._before[waiting.pop()]) - can_end
            can_end |= new
            waiting += new
        lost = next((number for number in range(len(self.result.states)) if number not in can_end), None)
        if lost is not None:
            self.result.violation = self._violation("no end can be reached from here", self._first_steps[lost], lost)

    def _violation(self, reason: str, by: tuple[int, Step] | None, number: int = 0) -> Violation[State]:
        path: list[Step] = []
        while by:
            number, step = by
            path.insert(0, step)
            by = self._first_steps[number]
        return Violation(reason, self.result.states[number], tuple(path))
