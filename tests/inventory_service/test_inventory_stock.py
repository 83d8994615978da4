"""Changing a product's stock."""

from __future__ import annotations

import uuid

import pytest

NOWHERE = str(uuid.UUID(int=7))


def test_stock_is_added(client, inventory, balanced):
    product = inventory.product(stock=5, sku="A-1")
    body = {"quantity": 3, "reason": "warehouse_receiving", "reference_id": "PO-7", "notes": "two boxes"}
    answer = client.post(f"/inventory/products/{product}/stock", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200
    changed = answer.get_json()
    assert changed | {"adjustment_id": 1, "created_at": 2} == {
        "product_id": product, "sku": "A-1", "previous_quantity": 5, "added_quantity": 3, "new_quantity": 8,
        "adjustment_id": 1, "created_at": 2,
    }  # fmt: skip
    assert changed["created_at"].endswith("Z")
    assert inventory.stock(product) == 8
    assert balanced()


def test_stock_change_is_recorded(client, inventory, sql):
    product = inventory.product()
    body = {"quantity": 3, "reason": "return_to_stock", "reference_id": "R" * 255, "notes": "n" * 1000}
    answer = client.post(f"/inventory/products/{product}/stock", json=body, headers={"Idempotency-Key": "k"}).get_json()
    assert sql("SELECT id, quantity, reason, reference_id, notes FROM inventory_adjustments") == [
        (answer["adjustment_id"], 3, "return_to_stock", "R" * 255, "n" * 1000)
    ]


@pytest.mark.parametrize("reason", ["manual_adjustment", "correction"])
def test_stock_is_removed(inventory, balanced, reason):
    product = inventory.product(stock=5)
    answer = inventory.change(product, -5, reason).get_json()
    assert (answer["added_quantity"], answer["new_quantity"]) == (-5, 0)
    assert balanced()


@pytest.mark.parametrize("reason", ["warehouse_receiving", "return_to_stock"])
def test_some_reasons_only_add_stock(inventory, reason):
    answer = inventory.change(inventory.product(stock=5), -1, reason)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert "quantity" in answer.get_json()["details"]


def test_stock_never_falls_below_zero(inventory, balanced):
    product = inventory.product(stock=5, sku="A-1")
    answer = inventory.change(product, -6)
    assert (answer.status_code, answer.get_json()["error"]) == (409, "insufficient_stock")
    assert answer.get_json()["details"] == {
        "product_id": product, "product_sku": "A-1", "requested": 6, "available": 5,
    }  # fmt: skip
    assert inventory.stock(product) == 5
    assert balanced()


def test_refused_request_leaves_its_key_unused(inventory):
    product = inventory.product(stock=5)
    assert inventory.change(product, -6, key="k").status_code == 409
    inventory.change(product, 1)
    assert inventory.change(product, -6, key="k").status_code == 200


def test_stock_never_exceeds_the_range_of_its_column(inventory, balanced):
    product = inventory.product(stock=2_147_483_640)
    assert inventory.change(product, 8).status_code == 400
    assert inventory.change(product, 7).get_json()["new_quantity"] == 2_147_483_647
    assert balanced()


def test_reserved_stock_can_always_be_released(inventory, balanced):
    """Stock plus reservations must stay within the column's range, or a release could never succeed."""
    product, order = inventory.product(stock=2_147_483_647), str(uuid.uuid4())
    inventory.reserve(order, {product: 10})
    assert inventory.change(product, 1).status_code == 400
    assert inventory.release(order).status_code == 200
    assert inventory.stock(product) == 2_147_483_647
    assert balanced()


def test_unknown_product_is_refused(inventory):
    answer = inventory.change(NOWHERE, 1)
    assert (answer.status_code, answer.get_json()["error"]) == (404, "product_not_found")
    assert answer.get_json()["details"] == {"product_ids": [NOWHERE]}


def test_repeated_key_is_replayed(inventory):
    product = inventory.product()
    first, second = (inventory.change(product, 5, key="k") for _ in range(2))
    assert second.data == first.data
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert inventory.stock(product) == 5


def test_key_with_another_request_is_refused(inventory):
    product, other = inventory.product(), inventory.product()
    inventory.change(product, 5, key="k")
    for answer in (inventory.change(product, 6, key="k"), inventory.change(other, 5, key="k")):
        assert (answer.status_code, answer.get_json()["error"]) == (422, "idempotency_key_reused")
    assert (inventory.stock(product), inventory.stock(other)) == (5, 0)
