"""Explores every state of a model, breadth first. It knows nothing about what the states mean.

Every state is kept as it is. Nothing is random, and no interleaving is left out.
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
    """What is wrong, and a shortest path to it."""

    reason: str
    begin: State
    path: tuple[Step, ...]


@dataclass(frozen=True)
class Model(Generic[State]):
    """What to explore, and what must hold."""

    begin: State
    steps: Callable[[State], Iterable[Step]]
    canonical: Callable[[State], State] = lambda state: state
    """Returns one state for all that differ only in names, which no step and no rule tells apart."""
    wrong_state: Callable[[State], str | None] = lambda _: None
    """Says what is wrong with a state."""
    wrong_step: Callable[[State, State], str | None] = lambda *_: None
    """Says what is wrong with a step from one state to another."""
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
    return _Explorer(model).run()


class _Explorer(Generic[State]):
    def __init__(self, model: Model[State]) -> None:
        self.model = model
        self.seen: Exploration[State] = Exploration()
        self.numbers: dict[State, int] = {}
        self.parents: list[int] = []
        self.ways_in: list[list[int]] = []
        """For each state, those from which it is reached without a fault."""

    def run(self) -> Exploration[State]:
        self._add(0, Step(None, self.model.begin))
        for number, state in enumerate(self.seen.states):  # the list grows meanwhile
            for step in self.model.steps(state):
                self.seen.steps += 1
                if reason := self._add(number, step):
                    self.seen.violation = Violation(reason, self.model.begin, (*self._path(number), step))
                    return self.seen
        if self.model.is_end:
            self._check_ends(self.model.is_end)
        return self.seen

    def _add(self, parent: int, step: Step) -> str | None:
        """Add the state after a step. :returns: what is wrong"""
        state = self.model.canonical(step.state)
        number = self.numbers.setdefault(state, len(self.parents))
        is_new = number == len(self.parents)
        if is_new:
            self.seen.states.append(state)
            self.parents.append(parent)
            self.ways_in.append([])
        if not step.is_fault:
            self.ways_in[number].append(parent)
        reason = self.model.wrong_state(state) if is_new else None
        return reason or self.model.wrong_step(self.seen.states[parent], step.state)

    def _check_ends(self, is_end: Callable[[State], bool]) -> None:
        can_end = {number for number, state in enumerate(self.seen.states) if is_end(state)}
        waiting = list(can_end)
        while waiting:
            new = set(self.ways_in[waiting.pop()]) - can_end
            can_end |= new
            waiting += new
        lost = next((number for number in range(len(self.parents)) if number not in can_end), None)
        if lost is not None:
            self.seen.violation = Violation("stuck: no end can be reached", self.model.begin, self._path(lost))

    def _path(self, number: int) -> tuple[Step, ...]:
        """A shortest way to a state, with the names that the steps gave."""
        numbers: list[int] = []
        while number > 0:
            numbers.insert(0, number)
            number = self.parents[number]
        path, state = [], self.model.begin
        for number in numbers:
            wanted = self.seen.states[number]
            path.append(next(step for step in self.model.steps(state) if self.model.canonical(step.state) == wanted))
            state = path[-1].state
        return tuple(path)
