"""Reserving and releasing, in either order of arrival."""

from __future__ import annotations

import uuid

import pytest

PATH = "/inventory/reservations"
ORDER = str(uuid.UUID(int=1))
NOWHERE = str(uuid.UUID(int=7))


def test_all_lines_are_reserved(inventory, sql, balanced):
    first, second = inventory.product(stock=5), inventory.product(stock=5)
    answer = inventory.reserve(ORDER, {first: 2, second: 5})
    assert answer.status_code == 201
    reservation = answer.get_json()
    ids = reservation.pop("reservation_ids")
    assert reservation == {"order_id": ORDER, "line_items_reserved": 2, "total_quantity_reserved": 7}
    assert {row[0] for row in sql("SELECT id FROM inventory_reservations")} == set(ids)
    assert (inventory.stock(first), inventory.stock(second)) == (3, 0)
    assert balanced()


def test_lines_for_one_product_are_added_up(client, inventory, balanced):
    product = inventory.product(stock=5)
    items = [{"product_id": product, "quantity": 2}, {"product_id": product.upper(), "quantity": 3}]
    answer = client.post(PATH, json={"order_id": ORDER.upper(), "items": items}).get_json()
    assert (answer["line_items_reserved"], answer["total_quantity_reserved"]) == (1, 5)
    assert answer["order_id"] == ORDER
    assert inventory.stock(product) == 0
    assert balanced()


def test_fifty_lines_are_reserved(inventory, balanced):
    products = [inventory.product(stock=100) for _ in range(50)]
    answer = inventory.reserve(ORDER, dict.fromkeys(products, 100)).get_json()
    assert (answer["line_items_reserved"], answer["total_quantity_reserved"]) == (50, 5000)
    assert balanced()


def test_repeated_reservation_is_replayed(inventory):
    lines = {inventory.product(stock=5): 1, inventory.product(stock=5): 2}
    first = inventory.reserve(ORDER, lines)
    second = inventory.reserve(ORDER, dict(reversed(lines.items())))
    assert (second.status_code, second.data) == (201, first.data)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert [inventory.stock(product) for product in lines] == [4, 3]


def test_other_lines_for_the_same_order_are_refused(inventory):
    product = inventory.product(stock=5)
    inventory.reserve(ORDER, {product: 1})
    answer = inventory.reserve(ORDER, {product: 2})
    assert (answer.status_code, answer.get_json()["error"]) == (422, "idempotency_key_reused")
    assert inventory.stock(product) == 4


def test_missing_stock_reserves_nothing(inventory, sql, balanced):
    plenty, short, shorter = sorted([inventory.product(stock=5, sku=sku) for sku in "ABC"])
    inventory.change(short, -2)
    inventory.change(shorter, -4)
    answer = inventory.reserve(ORDER, {shorter: 5, plenty: 5, short: 5})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "insufficient_stock")
    details = answer.get_json()["details"]
    assert details.pop("product_sku") in "ABC"
    assert details == {"product_id": short, "requested": 5, "available": 3}
    assert [inventory.stock(product) for product in (plenty, short, shorter)] == [5, 3, 1]
    assert sql("SELECT * FROM order_reservations") == sql("SELECT * FROM inventory_reservations") == []
    assert balanced()


def test_refused_reservation_may_be_repeated(inventory):
    product = inventory.product(stock=1)
    assert inventory.reserve(ORDER, {product: 2}).status_code == 409
    inventory.change(product, 1)
    assert inventory.reserve(ORDER, {product: 2}).status_code == 201


def test_unknown_products_are_named(inventory, sql):
    known = inventory.product(stock=5)
    unknown = sorted(str(uuid.uuid4()) for _ in range(2))
    answer = inventory.reserve(ORDER, {unknown[1]: 1, known: 99, unknown[0]: 1})
    assert (answer.status_code, answer.get_json()["error"]) == (404, "product_not_found")
    assert answer.get_json()["details"] == {"product_ids": unknown}
    assert sql("SELECT * FROM order_reservations") == []


def test_release_restores_stock_once(inventory, balanced):
    lines = {inventory.product(stock=5): 1, inventory.product(stock=5): 2}
    inventory.reserve(ORDER, lines)
    answers = [inventory.release(ORDER) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    zeros = {"order_id": ORDER, "released_count": 0, "total_quantity_restored": 0}
    assert [answer.get_json() for answer in answers] == [
        {"order_id": ORDER, "released_count": 2, "total_quantity_restored": 3}, zeros, zeros,
    ]  # fmt: skip
    assert [inventory.stock(product) for product in lines] == [5, 5]
    assert balanced()


@pytest.mark.parametrize("reserved_before", [True, False])
def test_reservation_after_its_release_is_refused(inventory, balanced, reserved_before):
    product = inventory.product(stock=5)
    if reserved_before:
        inventory.reserve(ORDER, {product: 1})
    assert inventory.release(ORDER).status_code == 200
    for lines in ({product: 1}, {product: 2}, {product: 99}, {NOWHERE: 1}):
        answer = inventory.reserve(ORDER, lines)
        assert (answer.status_code, answer.get_json()["error"]) == (409, "reservation_released")
        assert answer.get_json()["details"] == {"order_id": ORDER}
    assert inventory.stock(product) == 5
    assert balanced()


def test_release_of_an_unknown_order_succeeds(inventory):
    answer = inventory.release(ORDER)
    assert answer.status_code == 200
    assert answer.get_json() == {"order_id": ORDER, "released_count": 0, "total_quantity_restored": 0}
    assert inventory.release("x").status_code == 404


def test_release_leaves_other_orders_alone(inventory, balanced):
    product, other = inventory.product(stock=5), str(uuid.uuid4())
    inventory.reserve(ORDER, {product: 1})
    inventory.reserve(other, {product: 2})
    inventory.release(ORDER)
    assert inventory.stock(product) == 3
    assert inventory.reserve(other, {product: 2}).status_code == 201
    assert balanced()


def test_a_release_takes_no_body(client):
    assert client.delete(f"{PATH}/{ORDER}", json={}).status_code == 200
    assert client.delete(f"{PATH}/{ORDER}", json={"force": True}).status_code == 400
