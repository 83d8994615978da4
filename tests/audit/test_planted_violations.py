"""Every rule of the books is broken on purpose, and the audit names it. The database itself would refuse most of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from domain.states import Status
from tests.audit.planted import HARMLESS, PLANTED
from tests.audit.small_world import SmallWorld
from tests.database.conftest import Sql, Trial

Books = tuple[str, dict[str, str]]
Plant = Callable[[str], list[tuple[Any, ...]]]

CASES = [(check, says, statements) for check, cases in PLANTED.items() for says, statements in cases]

# How far the orders that are still open are led.
OPEN = {
    "authorized": None,
    "created": Status.ORDER_CREATED,
    "reserved": Status.INVENTORY_RESERVED,
    "captured": Status.PAYMENT_CAPTURED,
    "turned_back": Status.COMPENSATING,
}
NO_LAW = """
SET LOCAL session_replication_role = replica;
DO $$ DECLARE law text; BEGIN
  FOR law IN SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
    WHERE (contype IN ('c', 'u') OR conname = 'pk_outbox') AND connamespace = 'public'::regnamespace
  LOOP EXECUTE law; END LOOP;
END $$
"""
NOT_DUE = "UPDATE order_ledger SET due_at = now() + interval '1 hour' WHERE due_at IS NOT NULL"


def fill(world: SmallWorld) -> str:
    """Make an order in every state; its product."""
    product = world.product(stock=100)

    def order(key: str, *faults: str, **changes: Any) -> None:
        world.faults = {fault: ["answer"] * 5 for fault in faults}
        world.order(product, key=key, **changes)
        world.faults.pop("authorize", None)

    order("completed")
    order("declined", token="decline_expired")
    world.work()
    order("failed", quantity=99)
    world.work()
    order("refunded", "capture")
    world.work()
    order("abandoned", "authorize")
    world.work()
    order("held", "authorize")
    world.sql(NOT_DUE)
    for key, status in OPEN.items():
        order(key, quantity=99 if key == "turned_back" else 2)
        if status:
            world.run_once(until=status)
        world.sql(NOT_DUE)
    return product


@pytest.fixture(scope="module")
def books(new_migrated_database: Callable[[], str]) -> Books:
    """The address of a database with an order in every state, and the ids of the orders and their product."""
    url = new_migrated_database()
    with closing(SmallWorld(url)) as world, world.network():
        product = fill(world)
        ids = dict(world.sql("SELECT client_request_id, id::text FROM order_ledger"))
    return url, ids | {"product": product}


@pytest.fixture
def plant(books: Books) -> Iterator[Plant]:
    """Do something to the books, with no constraint and no trigger in the way; what the audit says. Nothing is kept."""
    url, ids = books
    with closing(Trial(url)) as trial:
        trial(NO_LAW)

        def do(statements: str) -> list[tuple[Any, ...]]:
            trial(statements, **ids)
            return trial("SELECT check_name, subject || ': ' || detail FROM audit_violations")

        yield do


def test_the_books_that_are_planted_in_are_healthy(books: Books) -> None:
    with closing(Sql(books[0])) as sql:
        assert {status for (status,) in sql("SELECT status FROM order_ledger")} == set(Status)
        assert sql("SELECT * FROM audit_violations") == []


@pytest.mark.parametrize(("check", "says", "statements"), CASES)
def test_violation_is_found_by_its_name(plant: Plant, check: str, says: str, statements: str) -> None:
    found = plant(statements)
    assert [row for row in found if None in row] == []
    assert [text for name, text in found if name == check and says in text], found


@pytest.mark.parametrize("statements", HARMLESS)
def test_unusual_but_legal_state_is_not_a_violation(plant: Plant, statements: str) -> None:
    assert plant(statements) == []


def test_every_check_is_planted_in_three_times_at_least(books: Books) -> None:
    with closing(Sql(books[0])) as sql:
        checks = sql("SELECT * FROM audit_checks ORDER BY check_number")
    assert checks == list(enumerate(PLANTED, 1))
    assert {check for check, cases in PLANTED.items() if len({done for _, done in cases}) < 3} == set()
