"""Products: creating, listing, availability."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

BODY = {"name": "Widget", "sku": "WIDGET-001", "price_cents": 2999, "initial_stock": 7}
PATH = "/inventory/products"
NOWHERE = str(uuid.UUID(int=7))


def test_a_product_is_created(client, sql):
    answer = client.post(PATH, json=BODY)
    assert answer.status_code == 201
    product = answer.get_json()
    names = ["id", "name", "sku", "price_cents", "currency", "is_active", "stock_quantity", "created_at"]
    assert list(product) == names
    assert product | {"id": 1, "created_at": 2} == {
        "id": 1, "name": "Widget", "sku": "WIDGET-001", "price_cents": 2999, "currency": "USD",
        "is_active": True, "stock_quantity": 7, "created_at": 2,
    }  # fmt: skip
    assert product["created_at"].endswith("Z")
    assert sql("SELECT product_id, quantity, reason FROM inventory_adjustments") == [
        (product["id"], 7, "initial_stock")
    ]


def test_without_initial_stock_there_is_none(client, sql):
    body = {name: value for name, value in BODY.items() if name != "initial_stock"}
    assert client.post(PATH, json=body).get_json()["stock_quantity"] == 0
    assert sql("SELECT * FROM inventory_adjustments") == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a"}, {"name": "n" * 255}, {"name": "Gerät ✓ 漢字 🎁"},
        {"sku": "a"}, {"sku": "A-z_0" * 20}, {"price_cents": 1}, {"price_cents": 999_999_999_999},
        {"initial_stock": 0}, {"initial_stock": 2_147_483_647},
    ],
)  # fmt: skip
def test_values_at_their_limits_are_accepted(client, change: dict[str, Any]):
    answer = client.post(PATH, json=BODY | change)
    assert answer.status_code == 201
    stored = answer.get_json()
    assert all(stored.get(name, stored["stock_quantity"]) == value for name, value in change.items())


def test_sku_is_unique(client, inventory, sql):
    first = inventory.product(sku="A-1")
    answer = client.post(PATH, json=BODY | {"sku": "A-1"})
    assert answer.status_code == 409
    assert answer.get_json()["error"] == "duplicate_sku"
    assert answer.get_json()["details"] == {"existing_product_id": first}
    assert sql("SELECT count(*) FROM products") == [(1,)]
    assert sql("SELECT count(*) FROM inventory_adjustments") == [(0,)]


def test_availability(client, inventory):
    stocked, empty = inventory.product(stock=3, sku="A"), inventory.product(sku="B")
    answers = [client.get(f"{PATH}/{product}/availability") for product in (stocked, empty)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.get_json() for answer in answers] == [
        {"product_id": stocked, "sku": "A", "stock_quantity": 3, "available": True},
        {"product_id": empty, "sku": "B", "stock_quantity": 0, "available": False},
    ]


def test_availability_of_an_unknown_product(client):
    answer = client.get(f"{PATH}/{NOWHERE}/availability")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "product_not_found")
    assert answer.get_json()["details"] == {"product_ids": [NOWHERE]}
    assert client.get(f"{PATH}/x/availability").get_json()["error"] == "not_found"


def test_products_by_ids(client, inventory):
    ids = [inventory.product(stock=stock) for stock in range(3)]
    asked = [ids[0], NOWHERE, ids[2].upper(), ids[0]]
    answer = client.get(PATH, query_string={"ids": ",".join(asked)})
    assert answer.status_code == 200
    found = answer.get_json()
    assert {product["id"]: product["stock_quantity"] for product in found["products"]} == {ids[0]: 0, ids[2]: 2}
    assert len(found["products"]) == 2
    assert found["next_cursor"] is None


def test_a_hundred_ids_and_no_more(client):
    ids = [str(uuid.uuid4()) for _ in range(101)]
    assert client.get(PATH, query_string={"ids": ",".join(ids[:100])}).get_json() == {
        "products": [],
        "next_cursor": None,
    }
    assert_invalid(client.get(PATH, query_string={"ids": ",".join(ids)}), "ids")


def test_all_products_page_by_page(client, inventory):
    ids = {inventory.product() for _ in range(7)}
    pages, cursor = [], {}
    while cursor is not None:
        page = client.get(PATH, query_string={"limit": 3, **cursor}).get_json()
        pages.append([product["id"] for product in page["products"]])
        cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {product for page in pages for product in page} == ids


def test_full_last_page_has_no_cursor(client, inventory):
    for _ in range(3):
        inventory.product()
    assert client.get(PATH, query_string={"limit": 3}).get_json()["next_cursor"] is None


def test_a_page_has_fifty_products(client, sql):
    sql(
        "INSERT INTO products (id, sku, name, price_cents, stock_quantity)"
        " SELECT gen_random_uuid(), number::text, 'Widget', 1, 0 FROM generate_series(1, 51) AS number"
    )
    page = client.get(PATH).get_json()
    assert len(page["products"]) == 50
    assert len(client.get(PATH, query_string={"cursor": page["next_cursor"]}).get_json()["products"]) == 1


def assert_invalid(answer, name: str) -> None:
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert name in answer.get_json()["details"]
