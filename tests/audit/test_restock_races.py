"""Restock ‖ reservation. A piece that returns is sold once, or is in stock, and no sale loses a piece that is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import psycopg2
import pytest

from inventory_service.operations import ADJUST_STOCK, LOCK_PRODUCTS
from local.postgres import EmbeddedPostgres
from orchestrator.entries import ORDERS, REFUNDS
from tests.at_once import at_once
from tests.audit.small_world import SmallWorld
from tests.races import carry_out, meet, placed, races, sell, tell
from tests.waiting import eventually

RACES = races(12)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'inventory%'"
RETURNS = """
SELECT product_id::text, count(*), sum(quantity)::int FROM inventory_adjustments WHERE reason = 'return_to_stock'
  AND reference_id = %(refund)s GROUP BY product_id
"""


def ended(world: SmallWorld, order: str) -> str:
    """How the order has ended: it was completed, or there was not enough in stock."""
    now = world.get(f"/orders/{order}")
    assert (now["failure"] or {}).get("code") == (None if now["status"] == "COMPLETED" else "insufficient_stock")
    return str(now["status"])


def refunded(world: SmallWorld, order: str) -> str:
    """Request the refund of all that is left, with restock. It is not carried out yet."""
    return str(world.refund(order, restock=True).json["refund_id"])


def race(world: SmallWorld) -> str:
    """A refund returns the last piece of a product at the moment when two baskets, in opposite orders, reserve it."""
    last, other = world.product(stock=1), world.product(stock=2)
    refund = refunded(world, sell(world, last, other, quantity=1))
    baskets = [placed(world, *products, quantity=1) for products in ((last, other), (other, last))]
    meet(world, 3, "restock", "reserve")
    at_once(
        [
            partial(world.run_once, claimant="one", kinds=[REFUNDS]),
            partial(world.run_once, claimant="two", kinds=[ORDERS], limit=1),
            partial(world.run_once, claimant="three", kinds=[ORDERS], limit=1),
        ]
    )
    world.work()
    sold = [ended(world, basket) for basket in baskets].count("COMPLETED")
    assert (world.stock(last), world.stock(other)) == (1 - sold, 2 - sold)
    assert sorted(world.sql(RETURNS, refund=refund)) == sorted([(last, 1, 1), (other, 1, 1)])
    later = placed(world, last, other, quantity=1)
    world.work()
    assert ended(world, later) == ("FAILED" if sold else "COMPLETED"), "a piece is sold once, and none is lost"
    return "sold" if sold else "returned after both"


def test_piece_that_returns_while_it_is_wanted_is_sold_once_or_in_stock(
    world: SmallWorld, postgres: EmbeddedPostgres
) -> None:
    """Each call is answered yes or no, or on a very slow machine "busy": a wait for a lock was too long."""
    logged = len(postgres.log.read_text())
    tell("restock ‖ reservation", [race(world) for _ in range(RACES)])
    assert {code for _, status, code in world.answers if status not in (200, 201, 409)} <= {"busy"}
    assert "deadlock detected" not in postgres.log.read_text()[logged:]
    assert world.audit() == []


def test_two_orchestrators_refund_and_sell_the_same_pieces(world: SmallWorld) -> None:
    """Ten orders have all pieces. They are refunded while ten others want the pieces."""
    product = world.product(stock=10)
    before = [placed(world, product, quantity=1) for _ in range(10)]
    world.work()
    refunds = [refunded(world, order) for order in before]
    orders = [placed(world, product, quantity=1) for _ in range(10)]
    carry_out(world)
    sold = [ended(world, order) for order in orders].count("COMPLETED")
    assert world.stock(product) == 10 - sold
    assert [world.sql(RETURNS, refund=refund) for refund in refunds] == [[(product, 1, 1)]] * 10
    assert world.audit() == []


@pytest.mark.parametrize(("first", "end", "left"), [("restock", "COMPLETED", 0), ("reserve", "FAILED", 1)])
def test_piece_is_sold_if_it_returns_in_time(world: SmallWorld, first: str, end: str, left: int) -> None:
    product = world.product(stock=1)
    refunded(world, sell(world, product, quantity=1))
    order = placed(world, product, quantity=1)
    second, kinds = ("reserve", [REFUNDS]) if first == "restock" else ("restock", [ORDERS])
    world.before[second] = partial(world.run_once, claimant="another", kinds=kinds)
    world.work()
    assert ended(world, order) == end
    assert world.stock(product) == left
    assert world.audit() == []


def test_reservation_waits_for_a_restock_and_gets_its_piece(world: SmallWorld, url: str) -> None:
    """The transaction that puts the piece back is still open. The reservation is not refused before it has ended."""
    order = placed(world, product := world.product(stock=0), quantity=1)
    piece = {"product_id": product, "quantity": 1, "reason": "return_to_stock", "reference_id": None, "notes": None}
    with closing(psycopg2.connect(url)) as holder, ThreadPoolExecutor(1) as thread:
        holder.cursor().execute(f"{LOCK_PRODUCTS}; {ADJUST_STOCK}", {"ids": [product], **piece})
        working = thread.submit(world.run_once)
        eventually(lambda: world.sql(WAITING) == [(1,)])
        holder.commit()
        working.result()
    world.work()
    assert ended(world, order) == "COMPLETED"
    assert (world.stock(product), world.audit()) == (0, [])
