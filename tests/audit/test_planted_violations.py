"""Every rule of the books is broken on purpose, and the audit names it. Constraints would prevent most of them."""

from __future__ import annotations

from contextlib import closing

import pytest

from domain.states import Status
from tests.audit.every_state import Books, Plant, books, plant, trial
from tests.audit.planted import HARMLESS, PLANTED
from tests.database.conftest import Sql

__all__ = ["books", "plant", "trial"]  # fixtures

CASES = [(check, says, statements) for check, cases in PLANTED.items() for says, statements in cases]


def test_books_are_healthy_before_planting(books: Books) -> None:
    with closing(Sql(books[0])) as sql:
        assert {status for (status,) in sql("SELECT status FROM order_ledger")} == set(Status)
        assert {status for (status,) in sql("SELECT status FROM refunds")} == {"SUCCEEDED", "FAILED", "REQUESTED"}
        assert sql("SELECT * FROM audit_violations") == []


@pytest.mark.parametrize(("check", "says", "statements"), CASES)
def test_planted_violation_is_found_and_named(plant: Plant, check: str, says: str, statements: str) -> None:
    found = plant(statements)
    assert [row for row in found if None in row] == []
    assert [text for name, text in found if name == check and says in text], found


@pytest.mark.parametrize("statements", HARMLESS)
def test_unusual_but_legal_state_is_not_a_violation(plant: Plant, statements: str) -> None:
    assert plant(statements) == []


def test_every_check_has_at_least_three_planted_violations(books: Books) -> None:
    with closing(Sql(books[0])) as sql:
        checks = sql("SELECT * FROM audit_checks ORDER BY check_number")
    assert checks == list(enumerate(PLANTED, 1))
    assert {check for check, cases in PLANTED.items() if len({done for _, done in cases}) < 3} == set()
