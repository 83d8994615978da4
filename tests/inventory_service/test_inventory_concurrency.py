"""Simultaneous calls over real connections."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

import psycopg2
import pytest

from common.database import lock_wait
from common.process.settings import Settings
from inventory_service.app import create_app
from tests import credentials
from tests.at_once import at_once
from tests.waiting import eventually


def some_order() -> str:
    return str(uuid.uuid4())


def statuses(answers) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_two_hundred_buyers_get_exactly_a_hundred_units(inventory, balanced):
    product = inventory.product(stock=100)
    with ThreadPoolExecutor(16) as buyers:
        answers = list(buyers.map(lambda _: inventory.reserve(some_order(), {product: 1}), range(200)))
    assert statuses(answers) == {201: 100, 409: 100}
    assert inventory.stock(product) == 0
    assert balanced()


def test_baskets_in_opposite_orders_do_not_deadlock(inventory, balanced):
    """Without a fixed lock order, two of them would deadlock until the database aborts one."""
    products = [inventory.product(stock=1000) for _ in range(5)]
    baskets = [dict.fromkeys(products, 1), dict.fromkeys(reversed(products), 1)]
    orders = [some_order() for _ in range(160)]
    with ThreadPoolExecutor(16) as buyers:
        answers = list(buyers.map(lambda n: inventory.reserve(orders[n], baskets[n % 2]), range(160)))
        assert statuses(answers) == {201: 160}
        assert statuses(buyers.map(inventory.release, orders)) == {200: 160}
    assert [inventory.stock(product) for product in products] == [1000] * 5
    assert balanced()


def test_simultaneous_repeats_of_one_reservation_reserve_once(inventory, balanced):
    product, order = inventory.product(stock=100), some_order()
    answers = at_once([partial(inventory.reserve, order, {product: 3})] * 10)
    assert statuses(answers) == {201: 10}
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert inventory.stock(product) == 97
    assert balanced()


def test_simultaneous_repeats_of_one_key_have_one_effect(inventory, balanced):
    product = inventory.product()
    answers = at_once([partial(inventory.change, product, 5, key="k")] * 10)
    assert statuses(answers) == {200: 10}
    assert len({answer.data for answer in answers}) == 1
    assert inventory.stock(product) == 5
    assert balanced()


def test_simultaneous_creates_of_one_sku_make_one_product(inventory, sql):
    body = {"name": "Widget", "sku": "A-1", "price_cents": 1, "initial_stock": 5}
    answers = at_once([lambda: inventory.client.post("/inventory/products", json=body)] * 10)
    assert statuses(answers) == {201: 1, 409: 9}
    created = next(answer.get_json()["id"] for answer in answers if answer.status_code == 201)
    details = [answer.get_json()["details"] for answer in answers if answer.status_code == 409]
    assert details == [{"existing_product_id": created}] * 9
    assert sql("SELECT count(*) FROM inventory_adjustments") == [(1,)]


def test_ten_releases_at_once_restore_once(inventory, balanced):
    product, order = inventory.product(stock=5), some_order()
    inventory.reserve(order, {product: 2})
    answers = at_once([partial(inventory.release, order)] * 10)
    assert statuses(answers) == {200: 10}
    assert sum(answer.get_json()["total_quantity_restored"] for answer in answers) == 2
    assert inventory.stock(product) == 5
    assert balanced()


def test_reservation_racing_its_release_leaves_nothing_reserved(inventory, balanced):
    product = inventory.product(stock=100)
    for _ in range(30):
        order = some_order()
        reserved, released = at_once(
            [partial(inventory.reserve, order, {product: 1}), partial(inventory.release, order)]
        )
        came_first = reserved.status_code == 201
        assert came_first or reserved.get_json()["error"] == "reservation_released"
        assert released.get_json()["released_count"] == came_first
        assert inventory.stock(product) == 100
    assert balanced()


@pytest.fixture
def impatient(monkeypatch, url):
    """The service with a lock timeout of a twentieth of a second."""
    monkeypatch.setattr(lock_wait, "LOCK_WAIT_S", 0.05)
    return create_app(
        Settings.load({"DATABASE_URL": url, "WEB_THREADS": "2", "LOG_LEVEL": "ERROR", **credentials.SETTINGS})
    ).test_client()


@pytest.fixture
def holder(url):
    """Another connection, which holds a lock."""
    connection = psycopg2.connect(url)
    yield connection
    connection.close()


@pytest.mark.parametrize("verb", ["reserve", "release", "change"])
def test_locked_product_is_answered_busy_and_named(inventory, impatient, holder, balanced, verb):
    locked, free = inventory.product(stock=5), inventory.product(stock=5)
    order_id, lines = some_order(), {locked: 1, free: 1}
    another = type(inventory)(impatient.application)
    if verb == "release":
        assert inventory.reserve(order_id, lines).status_code == 201
    call = {
        "reserve": partial(another.reserve, order_id, lines),
        "release": partial(another.release, order_id),
        "change": partial(another.change, locked, 1, key="k"),
    }[verb]
    holder.cursor().execute("SELECT FROM products WHERE id = %s FOR UPDATE", (locked,))
    answer = call()
    assert (answer.status_code, answer.get_json()["error"]) == (503, "busy")
    assert answer.get_json()["details"] == {"product_ids": [locked]}
    assert int(answer.headers["Retry-After"]) >= 1
    holder.rollback()
    assert call().status_code in (200, 201)
    assert balanced()


def test_locked_order_is_answered_busy_without_a_product(inventory, impatient, holder, balanced):
    product, order_id = inventory.product(stock=5), some_order()
    holder.cursor().execute(
        "INSERT INTO order_reservations (order_id, status, released_at) VALUES (%s, 'RELEASED', now())", (order_id,)
    )
    answer = type(inventory)(impatient.application).reserve(order_id, {product: 1})
    assert (answer.status_code, answer.get_json()["error"]) == (503, "busy")
    assert "details" not in answer.get_json()
    assert balanced()


def test_reservation_waits_for_a_lock_that_ends_in_time(inventory, holder, sql, balanced):
    product = inventory.product(stock=5)
    holder.cursor().execute("SELECT FROM products FOR UPDATE")
    with ThreadPoolExecutor(1) as buyer:
        answer = buyer.submit(inventory.reserve, some_order(), {product: 1})
        eventually(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        holder.rollback()
        assert answer.result().status_code == 201
    assert inventory.stock(product) == 4
    assert balanced()


def test_key_that_stays_in_use_is_answered_in_progress(inventory, impatient, holder):
    product = inventory.product()
    holder.cursor().execute(
        "INSERT INTO inventory_idempotency_keys (scope, key, fingerprint) VALUES ('stock', 'k', 'another process')"
    )
    body, path = {"quantity": 1, "reason": "correction"}, f"/inventory/products/{product}/stock"
    answer = impatient.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "request_in_progress")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("verb", ["reserve", "release"])
def test_products_are_locked_in_order_of_their_ids(inventory, sql, url, verb):
    """The call waits for the first product before it locks others, even if no index provides that order."""
    high, low = inventory.product(stock=5), inventory.product(stock=5)
    while high < low:  # the first in the table must be locked last
        high, low = inventory.product(stock=5), inventory.product(stock=5)
    order_id, lines = some_order(), {low: 1, high: 1}
    another = type(inventory)(
        create_app(Settings.load({"DATABASE_URL": url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}))
    )  # connects later
    call = partial(another.reserve, order_id, lines)
    if verb == "release":
        assert inventory.reserve(order_id, lines).status_code == 201
        sql(f"UPDATE inventory_reservations SET quantity = quantity WHERE product_id = '{low}'")  # now stored last
        call = partial(another.release, order_id)
    with unordered(sql), closing(psycopg2.connect(url)) as holder, ThreadPoolExecutor(1) as pool:
        with holder.cursor() as cursor:
            cursor.execute("SELECT FROM products WHERE id = %s FOR UPDATE", (low,))
        answer = pool.submit(call)
        eventually(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        assert sql(f"SELECT 1 FROM products WHERE id = '{high}' FOR UPDATE SKIP LOCKED") == [(1,)]
        holder.rollback()
        assert answer.result().status_code == (201 if verb == "reserve" else 200)


@contextmanager
def unordered(sql):
    """Make new connections read tables in storage order, as any plan may."""
    database = sql("SELECT quote_ident(current_database())")[0][0]
    ways = ("indexscan", "indexonlyscan", "bitmapscan", "hashjoin", "mergejoin")
    for way in ways:
        sql(f"ALTER DATABASE {database} SET enable_{way} = off")
    try:
        yield
    finally:
        for way in ways:
            sql(f"ALTER DATABASE {database} RESET enable_{way}")
