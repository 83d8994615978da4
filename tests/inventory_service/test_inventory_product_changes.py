"""Changes of a product's name and price, and its retirement. They wait for no order, and no order waits for them."""

from __future__ import annotations

import itertools
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg2
import pytest

from inventory_service.operations import CHANGE_PRODUCT, LOCK_PRODUCTS
from tests.waiting import eventually

PATIENCE_S = 20  # only a failing test waits so long
WAITS_FOR_A_LOCK = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'inventory_service' AND wait_event_type = 'Lock'
"""
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def product(inventory):
    return inventory.product(stock=10)


@pytest.fixture
def change(client):
    return lambda product_id, **body: client.patch(f"/inventory/products/{product_id}", json=body)


@pytest.fixture
def read(client):
    def find(product_id):
        (found,) = client.get(f"/inventory/products?ids={product_id}").get_json()["products"]
        return found

    return find


@pytest.fixture
def in_transaction(url):
    """`with in_transaction(sql, …)`: a transaction that has run this statement and stays open."""

    @contextmanager
    def run(statement, **params):
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, params)
            yield connection
            connection.rollback()

    return run


CHANGES = [{"name": "Decaf"}, {"price_cents": 1}, {"is_active": False}, {"name": "Tea", "price_cents": 5}]


@pytest.mark.parametrize("wanted", [*CHANGES, {}, {"name": "Widget"}], ids=str)
def test_change_shows_the_product_as_it_is_now(change, read, product, wanted):
    before = read(product)
    response = change(product, **wanted)
    assert response.status_code == 200
    assert response.get_json() == read(product) == {**before, **wanted}


def test_changes_add_up(change, read, product, client):
    for wanted in CHANGES:
        change(product, **wanted)
    after = read(product)
    assert (after["name"], after["price_cents"], after["is_active"]) == ("Tea", 5, False)
    assert client.get("/inventory/products").get_json()["products"] == [after]
    assert change(product, is_active=True).get_json() == {**after, "is_active": True}


def test_unknown_product_is_not_found(change, sql):
    response = change(UNKNOWN, price_cents=1)
    assert (response.status_code, response.get_json()["error"]) == (404, "product_not_found")
    assert sql("SELECT * FROM product_versions") == []


def test_each_price_is_kept(change, product, sql):
    for price in (5, 7, 7, 5):
        change(product, price_cents=price)
    change(product)
    assert sql("SELECT number, price_cents FROM product_versions ORDER BY number") == [(1, 5), (2, 7), (3, 5)]
    assert sql("SELECT price_cents FROM products") == [(999,)]


def test_change_does_not_wait_for_a_reservation(in_transaction, change, read, product):
    """The transaction has the locks of a reservation, and has taken its stock."""
    taken = f"{LOCK_PRODUCTS}; UPDATE products SET stock_quantity = 0 WHERE id = ANY(%(ids)s::uuid[])"
    with in_transaction(taken, ids=[product]):
        assert change(product, price_cents=5, is_active=False).status_code == 200
        assert read(product)["price_cents"] == 5


def test_reservation_does_not_wait_for_a_change(in_transaction, inventory, read, product):
    wanted = {"name": "Decaf", "price_cents": 5, "is_active": False}
    with in_transaction(CHANGE_PRODUCT, product_id=product, **wanted):
        order = str(uuid.uuid4())
        assert inventory.reserve(order, {product: 3}).status_code == 201
        assert inventory.release(order).status_code == 200
        assert inventory.change(product, 5).status_code == 200
        assert read(product)["price_cents"] == 999  # the change is not committed


def test_retired_product_keeps_its_orders(change, inventory, product):
    """An order is placed with the price of its time. What became of the product since does not turn it back."""
    change(product, is_active=False)
    assert inventory.reserve(str(uuid.uuid4()), {product: 3}).status_code == 201


def test_changes_at_the_same_time_lose_none(change, read, product, sql):
    """Half of them change the price only, the others the name only."""
    wanted = [{"price_cents": n} for n in range(1, 13)] + [{"name": f"N{n}"} for n in range(1, 13)]
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda each: change(product, **each).status_code, wanted))
    assert statuses == [200] * len(wanted)
    rows = sql("SELECT number, price_cents, name FROM product_versions ORDER BY number")
    assert [number for number, _, _ in rows] == list(range(1, len(wanted) + 1))
    changed = [(before[1] != after[1]) + (before[2] != after[2]) for before, after in itertools.pairwise(rows)]
    assert changed == [1] * (len(wanted) - 1)
    assert (read(product)["price_cents"], read(product)["name"]) == rows[-1][1:]


def test_change_that_was_outrun_begins_again(in_transaction, change, product, sql):
    other = {"name": "Decaf", "price_cents": None, "is_active": None}
    with in_transaction(CHANGE_PRODUCT, product_id=product, **other) as connection, ThreadPoolExecutor(1) as thread:
        outrun = thread.submit(change, product, price_cents=5)
        eventually(lambda: sql(WAITS_FOR_A_LOCK) == [(1,)], PATIENCE_S)
        connection.commit()
        response = outrun.result()
    assert (response.status_code, response.get_json()["name"], response.get_json()["price_cents"]) == (200, "Decaf", 5)
    rows = sql("SELECT number, name, price_cents FROM product_versions ORDER BY number")
    assert rows == [(1, "Decaf", 999), (2, "Decaf", 5)]


def test_change_that_waits_too_long_for_another_one_is_busy(in_transaction, change, product):
    wanted = {"name": None, "price_cents": 5, "is_active": None}
    with in_transaction(CHANGE_PRODUCT, product_id=product, **wanted):
        response = change(product, price_cents=6)
    assert (response.status_code, response.get_json()["error"]) == (503, "busy")
