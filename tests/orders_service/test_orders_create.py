"""Creating an order exactly once."""

from __future__ import annotations

import uuid

import pytest

from domain.ids import order_id_for
from tests.at_once import at_once

LEDGER = str(uuid.UUID(int=1))


def test_an_order_is_created(orders):
    body = orders.body(LEDGER)
    answer = orders.create(LEDGER)
    assert answer.status_code == 201
    order = answer.get_json()
    assert list(order) == [
        "id", "order_ledger_id", "user_id", "status", "total_amount_cents", "currency", "items",
        "created_at", "updated_at",
    ]  # fmt: skip
    times = {name: order.pop(name) for name in ("created_at", "updated_at")}
    assert order == {**body, "id": order_id_for(LEDGER), "status": "CREATED"}
    assert times["created_at"] == times["updated_at"]
    assert times["created_at"].endswith("Z")


def test_repeated_create_is_replayed(orders, sql):
    first, second = orders.create(LEDGER), orders.create(LEDGER)
    assert (second.status_code, second.data) == (200, first.data)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert sql("SELECT count(*) FROM orders") == [(1,)]
    assert sql("SELECT count(*) FROM order_items") == [(2,)]


def test_repeated_create_shows_the_current_order(orders):
    order = orders.create(LEDGER).get_json()["id"]
    confirmed = orders.confirm(order)
    again = orders.create(LEDGER)
    assert (again.status_code, again.data) == (200, confirmed.data)


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": str(uuid.UUID(int=4))}, {"currency": "EUR"},
        {"items": [{"product_id": str(uuid.UUID(int=9)), "quantity": 1, "unit_price_cents": 5999}]},
    ],
)  # fmt: skip
def test_other_content_for_the_same_entry_is_refused(orders, change):
    orders.create(LEDGER)
    answer = orders.create(LEDGER, **change)
    assert (answer.status_code, answer.get_json()["error"]) == (422, "idempotency_key_reused")
    assert orders.create(LEDGER).status_code == 200


def test_simultaneous_creates_make_one_order(orders, sql):
    answers = at_once([lambda: orders.create(LEDGER)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.data for answer in answers}) == 1
    assert sql("SELECT count(*) FROM order_items") == [(2,)]


def test_fifty_lines_keep_their_order(orders):
    products = [str(uuid.uuid4()) for _ in range(50)]
    items = [{"product_id": product, "quantity": 100, "unit_price_cents": 1} for product in products]
    answer = orders.create(LEDGER, items=items, total_amount_cents=5000)
    assert answer.status_code == 201
    assert orders.get(answer.get_json()["id"]).get_json()["items"] == items


def test_total_over_the_limit_is_refused(orders):
    line = {"product_id": LEDGER, "quantity": 1, "unit_price_cents": 999_999_999_999}
    assert orders.create(items=[line], total_amount_cents=999_999_999_999).status_code == 201
    over = orders.create(items=[line | {"quantity": 2}], total_amount_cents=1_999_999_999_998)
    assert (over.status_code, list(over.get_json()["details"])) == (400, ["total_amount_cents"])


def test_product_in_two_lines_is_refused(orders):
    line = {"product_id": "abcdefab-0000-0000-0000-000000000000", "quantity": 1, "unit_price_cents": 1}
    answer = orders.create(items=[line, line | {"product_id": line["product_id"].upper()}], total_amount_cents=2)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, ["items"])
