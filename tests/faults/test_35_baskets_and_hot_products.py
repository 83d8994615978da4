"""Row 35: baskets in opposite orders; one hot product. Required: no deadlock; exactly the stock is sold."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests

from tests.faults.shared_stack import PATIENCE_S, SharedStack
from tests.system.conftest import place
from tests.waiting import eventually

CALLS, BUYERS = 240, 16


def test_baskets_in_opposite_orders_do_not_deadlock(stack: SharedStack) -> None:
    """Reserve at the inventory service in parallel, then release."""
    products = sorted(stack.product(stock=CALLS) for _ in range(5))
    before = deadlocks(stack)
    baskets = [products, products[::-1]]
    inventory = f"{stack.url('inventory_service')}/inventory/reservations"
    order_ids = [str(uuid.uuid4()) for _ in range(CALLS)]

    def reserve(number: int) -> int:
        items = [{"product_id": product, "quantity": 1} for product in baskets[number % 2]]
        body = {"order_id": order_ids[number], "items": items}
        return requests.post(inventory, json=body, timeout=PATIENCE_S).status_code

    def release(order_id: str) -> int:
        return requests.delete(f"{inventory}/{order_id}", timeout=PATIENCE_S).status_code

    with ThreadPoolExecutor(BUYERS) as buyers:
        assert set(buyers.map(reserve, range(CALLS))) == {201}
        assert stack.sql("SELECT DISTINCT stock_quantity FROM products") == [(0,)]
        assert set(buyers.map(release, order_ids)) == {200}
    assert stack.sql("SELECT DISTINCT stock_quantity FROM products") == [(CALLS,)]
    assert deadlocks(stack) == before
    stack.settle()


def test_hot_product_sells_exactly_its_stock(stack: SharedStack) -> None:
    product = stack.product(stock=30)
    assert len(set(place(stack, product, 50, buyers=12).values())) == 50
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 30, "FAILED": 20}
    assert stack.sql("SELECT DISTINCT failure_code FROM order_ledger WHERE status = 'FAILED'") == [
        ("insufficient_stock",)
    ]
    assert stack.sql("SELECT stock_quantity FROM products") == [(0,)]


def test_large_baskets_in_opposite_orders_complete(stack: SharedStack) -> None:
    products = [stack.product(stock=100) for _ in range(5)]
    before = deadlocks(stack)
    baskets = [[{"product_id": product, "quantity": 1} for product in row] for row in (products, products[::-1])]
    calls = [partial(stack.post_order, f"key {n}", "", items=baskets[n % 2]) for n in range(40)]
    with ThreadPoolExecutor(8) as shops:
        answers = Counter(answer.status_code for answer in shops.map(lambda call: call(), calls))
    assert answers == {202: 40}
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 40}
    assert deadlocks(stack) == before


def deadlocks(stack: SharedStack) -> int:
    """Count the deadlocks on the server. Its processes report their statistics once they are idle."""
    commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    ((before,),) = stack.sql(commits)
    eventually(lambda: stack.sql(commits)[0][0] > before)
    ((found,),) = stack.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found)
