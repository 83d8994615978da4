"""Price change ‖ order. An order has one of the prices that were valid while it was placed, and keeps it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg2
import pytest

from inventory_service.operations import ADJUST_STOCK, CHANGE_PRODUCT, LOCK_PRODUCTS
from tests.at_once import at_once
from tests.audit.small_world import SmallWorld
from tests.races import placed, races, rounds, sell, tell
from tests.waiting import eventually

RACES = races(30)
FIRST = 1250  # the price of a new product
# An order's price of one piece, and its total by all the books that have it.
BOOKS = """
SELECT i.unit_price_cents, ARRAY[
    2 * i.unit_price_cents, 2 * oi.unit_price_cents, l.total_amount_cents, o.total_amount_cents, a.amount_cents,
    a.captured_amount_cents]
FROM order_ledger l JOIN order_ledger_items i ON i.order_ledger_id = l.id
JOIN orders o ON o.order_ledger_id = l.id JOIN order_items oi ON oi.order_id = o.id
JOIN payment_authorizations a ON a.id = l.payment_authorization_id
WHERE l.id = %(id)s
"""


@dataclass(frozen=True)
class Span:
    """From before a call was sent until after it was answered, on one clock that counts."""

    begin: int
    end: int


class Shop:
    """Changes a product's price and name, one change after the other, and knows when each price was valid."""

    def __init__(self, world: SmallWorld) -> None:
        self._world, self._clock = world, itertools.count()
        self.product = world.product(stock=2 * RACES + 100)
        self._spans = {FIRST: Span(-1, -1)}

    def change(self) -> int:
        """:returns: the new price"""
        price = max(self._spans) + 1
        answer, span = self.timed(lambda: self._world.change(self.product, price_cents=price, name=f"At {price}"))
        assert (answer.status_code, answer.json["price_cents"], answer.json["name"]) == (200, price, f"At {price}")
        self._spans[price] = span
        return price

    def timed(self, call: Callable[[], Any]) -> tuple[Any, Span]:
        begin = next(self._clock)
        answer = call()
        return answer, Span(begin, next(self._clock))

    def valid(self, during: Span) -> set[int]:
        """The prices that may have been valid at some moment: begun before its end, and replaced after its begin."""
        replaced = [*(span.end for span in self._spans.values()), during.end][1:]
        return {
            price
            for (price, span), end in zip(self._spans.items(), replaced, strict=True)
            if span.begin < during.end and end > during.begin
        }


@pytest.fixture
def shop(world: SmallWorld) -> Shop:
    return Shop(world)


def price_of(world: SmallWorld, order: str) -> int:
    """The price of one piece. All books agree on it, and so do the order and the events that the client sees."""
    ((price, totals),) = world.sql(BOOKS, id=order)
    events = eventually(lambda: world.get(f"/events?order_ledger_id={order}")["events"])
    assert {*totals, *(event["data"]["total_amount_cents"] for event in events)} == {2 * price}
    now = world.get(f"/orders/{order}")
    assert (now["status"], now["total_amount_cents"]) == ("COMPLETED", 2 * price)
    assert [item["unit_price_cents"] for item in now["items"]] == [price]
    return int(price)


def test_order_has_a_price_that_was_valid_and_keeps_it(world: SmallWorld, shop: Shop) -> None:
    """The price changes all the time while orders are placed by two clients and carried out."""
    orders: dict[str, Span] = {}
    is_over = threading.Event()

    def buy(number: int) -> None:
        for _ in range(number):
            order, span = shop.timed(partial(placed, world, shop.product))
            orders[order] = span

    def change() -> None:
        while not is_over.is_set():
            shop.change()

    with ThreadPoolExecutor(3) as threads:
        changing = threads.submit(change)
        try:
            for size in rounds(RACES):
                list(threads.map(buy, (size // 2, size - size // 2)))
                world.work()
        finally:
            is_over.set()
        changing.result()
    valid = {order: shop.valid(span) for order, span in orders.items()}
    prices = {order: price_of(world, order) for order in orders}
    assert [order for order, price in prices.items() if price not in valid[order]] == []
    tell("price change ‖ order", ["old" if prices[o] == min(valid[o]) else "new" for o in orders])
    assert len(orders) == RACES
    assert world.audit() == []


@pytest.mark.parametrize("call", ["prices", "authorize", "create", "reserve", "capture", "confirm"])
def test_price_is_that_of_the_moment_at_which_it_is_read(world: SmallWorld, shop: Shop, call: str) -> None:
    changed: list[int] = []
    world.before[call] = lambda: changed.extend(at_once([shop.change]))
    order = sell(world, shop.product)
    assert price_of(world, order) == (changed[0] if call == "prices" else FIRST)
    assert price_of(world, sell(world, shop.product)) == changed[0]
    assert world.audit() == []


@contextmanager
def open_transaction(url: str, statement: str, **params: Any) -> Iterator[None]:
    """A transaction that has run this, and commits at the end."""
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute(statement, params)
        yield
        connection.commit()


def test_price_change_does_not_wait_for_the_stock(world: SmallWorld, url: str, shop: Shop) -> None:
    """A transaction that has locked and changed the stock, as reservations and restocks do, is still open."""
    more = {"quantity": 1, "reason": "correction", "reference_id": None, "notes": None}
    with open_transaction(url, f"{LOCK_PRODUCTS}; {ADJUST_STOCK}", ids=[shop.product], product_id=shop.product, **more):
        price = shop.change()
        assert world.get(f"/products/{shop.product}")["price_cents"] == price
    assert price_of(world, sell(world, shop.product)) == price
    assert world.audit() == []


def test_order_and_refund_do_not_wait_for_a_price_change(world: SmallWorld, url: str, shop: Shop) -> None:
    """The transaction that changes the price is still open: the order has the price before it."""
    wanted = {"name": "Decaf", "price_cents": 5, "is_active": False}
    with open_transaction(url, CHANGE_PRODUCT, product_id=shop.product, **wanted):
        order = sell(world, shop.product)
        assert world.refund(order, restock=True).status_code == 202
        world.work()
        assert world.get(f"/orders/{order}")["refunded_cents"] == 2 * FIRST
        cancelled = placed(world, shop.product)
        world.before["capture"] = partial(world.cancel, cancelled)
        world.work()
        assert world.get(f"/orders/{cancelled}")["failure"]["code"] == "cancelled"
    refused = world.order(shop.product)
    assert (refused.status_code, refused.json["error"]) == (422, "unknown_product")
    assert price_of(world, order) == FIRST
    assert world.audit() == []
