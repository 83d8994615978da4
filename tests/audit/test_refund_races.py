"""Refund ‖ refund. Refunds of one order at the same time, and two orchestrators: never more than was captured."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.at_once import at_once
from tests.audit.small_world import SmallWorld
from tests.races import carry_out, placed, races, rounds, tell

RACES = races(40)
TOTAL_CENTS = 2500
SUMS = """
SELECT refunded_cents, refund_reserved_cents, refunded_quantity, refunded_amount_cents, stock_quantity
FROM order_ledger l JOIN order_ledger_items i ON i.order_ledger_id = l.id JOIN products p ON p.id = i.product_id
JOIN payment_authorizations a ON a.id = l.payment_authorization_id
"""


def sold(world: SmallWorld, orders: int) -> list[tuple[str, str]]:
    """The ids of completed orders of two pieces, each with a product of its own."""
    products = [world.product(stock=10) for _ in range(orders)]
    made = [(placed(world, product), product) for product in products]
    world.work()
    return made


def race(world: SmallWorld, order: str, *bodies: dict[str, Any]) -> list[int]:
    """Request these refunds at the same moment; return the sorted statuses."""
    answers = at_once([partial(world.refund, order, **body) for body in bodies])
    refused = [answer.json["error"] for answer in answers if answer.status_code == 409]
    assert set(refused) <= {"refund_exceeds_remaining"}
    return sorted(answer.status_code for answer in answers)


def test_refunds_of_the_whole_order_race(world: SmallWorld) -> None:
    ends = []
    for size in rounds(RACES):
        ends += [race(world, order, {"restock": True}, {"restock": True}) for order, _ in sold(world, size)]
        carry_out(world)
    tell("refund ‖ refund", ends)
    assert ends == [[202, 409]] * RACES
    assert world.sql(SUMS) == [(TOTAL_CENTS, TOTAL_CENTS, 2, TOTAL_CENTS, 10)] * RACES
    assert world.audit() == []


def test_refunds_of_amounts_and_pieces_race(world: SmallWorld) -> None:
    for size in rounds(RACES // 4):
        for order, product in sold(world, size):
            piece = {"items": [{"product_id": product, "quantity": 1}], "restock": True}
            ends = race(world, order, {"amount_cents": 1000}, piece, piece, {"amount_cents": 1000})
            assert ends == [202, 202, 409, 409]
        carry_out(world)
    for refunded, reserved, pieces, books, stock in world.sql(SUMS):
        assert refunded == reserved == books <= TOTAL_CENTS
        assert stock == 8 + pieces
    assert world.audit() == []
