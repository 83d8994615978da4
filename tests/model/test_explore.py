"""The explorer itself, on models of a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model.explore import Model, Step, explore


def counting(*increments: int, limit: int = 20) -> Callable[[int], Iterator[Step]]:
    return lambda number: (Step(add, number + add) for add in increments if number + add <= limit)


def test_every_reachable_state_is_visited_once() -> None:
    seen = explore(Model(0, counting(2, 4)))
    assert seen.states == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert (seen.steps, seen.violation) == (19, None)


def test_a_violation_is_told_by_its_shortest_path() -> None:
    violation = explore(Model(0, counting(1, 5), wrong_state=lambda n: "eleven" if n == 11 else None)).violation
    assert violation
    assert (violation.reason, sorted(step.what for step in violation.path)) == ("eleven", [1, 5, 5])
    assert violation.path[-1].state == 11


def test_a_step_between_two_right_states_can_be_wrong() -> None:
    jump = Model(0, counting(1, 5), wrong_step=lambda was, now: "jump" if now - was == 5 else None)
    violation = explore(jump).violation
    assert violation
    assert (violation.reason, [step.state for step in violation.path]) == ("jump", [5])


def test_a_state_that_cannot_end_is_found() -> None:
    violation = explore(Model(0, counting(2, 3, limit=9), is_end=lambda n: n == 8)).violation
    assert violation
    assert violation.path[-1].state == 7


def test_an_end_that_only_a_fault_reaches_does_not_count() -> None:
    def steps(number: int) -> Iterator[Step]:
        yield from [Step("fault", 1, is_fault=True)] if number == 0 else []

    violation = explore(Model(0, steps, is_end=lambda n: n == 1)).violation
    assert violation
    assert violation.path == ()


def test_states_that_differ_in_names_only_are_visited_once() -> None:
    names = Model(0, lambda number: [Step(f"to {number + 2}", number + 2)], canonical=lambda number: number % 6)
    assert explore(names).states == [0, 2, 4]


def test_a_path_has_the_names_that_the_steps_gave() -> None:
    def steps(number: int) -> Iterator[Step]:
        yield Step(f"to {number + 3}", number + 3)

    model = Model(0, steps, canonical=lambda number: number % 100, wrong_state=lambda n: "two" if n == 2 else None)
    violation = explore(model).violation
    assert violation
    assert violation.path[-1].what == "to 102"
