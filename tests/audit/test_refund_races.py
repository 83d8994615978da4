"""Refunds of one order at the same time, and two orchestrators that carry them out: never more than was captured.

`RACES=1000` runs ten times as many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.at_once import at_once
from tests.audit.small_world import SmallWorld

RACES = int(os.environ.get("RACES", "100"))
TOTAL_CENTS = 2500
SUMS = """
SELECT refunded_cents, refund_reserved_cents, refunded_quantity, refunded_amount_cents, stock_quantity
FROM order_ledger l JOIN order_ledger_items i ON i.order_ledger_id = l.id JOIN products p ON p.id = i.product_id
JOIN payment_authorizations a ON a.id = l.payment_authorization_id
"""


@pytest.fixture
def sold(world: SmallWorld) -> Callable[[int], list[tuple[str, str]]]:
    """`sold(3)`: the ids of completed orders of two pieces, each with a product of its own."""

    def make(orders: int) -> list[tuple[str, str]]:
        made = []
        for _ in range(orders):
            product = world.product(stock=10)
            made.append((str(world.order(product).json["order_ledger_id"]), product))
        world.work()
        return made

    return make


def race(world: SmallWorld, order: str, *bodies: dict[str, Any]) -> list[int]:
    """Request these refunds at the same moment; return the sorted statuses."""
    answers = at_once([partial(world.refund, order, **body) for body in bodies])
    refused = [answer.json["error"] for answer in answers if answer.status_code == 409]
    assert set(refused) <= {"refund_exceeds_remaining"}
    return sorted(answer.status_code for answer in answers)


def carry_out(world: SmallWorld) -> None:
    """Two orchestrators claim and work at the same time, until nothing is left."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda name: world.run_once(claimant=name), ("one", "two")))
    world.work()
    assert world.audit() == []


def test_refunds_of_the_whole_order_race(world: SmallWorld, sold: Callable[[int], list[tuple[str, str]]]) -> None:
    for order, _ in sold(RACES):
        assert race(world, order, {"restock": True}, {"restock": True}) == [202, 409]
    carry_out(world)
    assert set(world.sql(SUMS)) == {(TOTAL_CENTS, TOTAL_CENTS, 2, TOTAL_CENTS, 10)}
    assert len(world.sql(SUMS)) == RACES


def test_refunds_of_amounts_and_pieces_race(world: SmallWorld, sold: Callable[[int], list[tuple[str, str]]]) -> None:
    for order, product in sold(RACES // 4):
        piece = {"items": [{"product_id": product, "quantity": 1}], "restock": True}
        assert race(world, order, {"amount_cents": 1000}, piece, piece, {"amount_cents": 1000}) == [202, 202, 409, 409]
    carry_out(world)
    for refunded, reserved, pieces, books, stock in world.sql(SUMS):
        assert refunded == reserved == books <= TOTAL_CENTS
        assert stock == 8 + pieces
