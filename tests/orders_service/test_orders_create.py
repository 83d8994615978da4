"""Creating an order, once, whatever is sent."""

from __future__ import annotations

import uuid

import pytest

from common.ids import order_id_for
from tests.at_once import at_once
from tests.bad_bodies import BAD_REQUESTS, NO_COUNT, NO_ID, with_value

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


def test_the_same_again_is_the_same_order(orders, sql):
    first, second = orders.create(LEDGER), orders.create(LEDGER)
    assert (second.status_code, second.data) == (200, first.data)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert sql("SELECT count(*) FROM orders") == [(1,)]
    assert sql("SELECT count(*) FROM order_items") == [(2,)]


def test_the_same_again_shows_the_order_as_it_is_now(orders):
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
def test_other_content_for_the_same_entry(orders, change):
    orders.create(LEDGER)
    answer = orders.create(LEDGER, **change)
    assert (answer.status_code, answer.get_json()["error"]) == (422, "idempotency_key_reused")
    assert orders.create(LEDGER).status_code == 200


def test_one_order_whatever_is_sent_at_once(orders, sql):
    answers = at_once([lambda: orders.create(LEDGER)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.data for answer in answers}) == 1
    assert sql("SELECT count(*) FROM order_items") == [(2,)]


def test_fifty_lines_stay_in_their_order(orders):
    products = [str(uuid.uuid4()) for _ in range(50)]
    items = [{"product_id": product, "quantity": 100, "unit_price_cents": 1} for product in products]
    answer = orders.create(LEDGER, items=items, total_amount_cents=5000)
    assert answer.status_code == 201
    assert orders.get(answer.get_json()["id"]).get_json()["items"] == items


def test_the_largest_total(orders):
    line = {"product_id": LEDGER, "quantity": 1, "unit_price_cents": 999_999_999_999}
    assert orders.create(items=[line], total_amount_cents=999_999_999_999).status_code == 201
    over = orders.create(items=[line | {"quantity": 2}], total_amount_cents=1_999_999_999_998)
    assert (over.status_code, list(over.get_json()["details"])) == (400, ["total_amount_cents"])


@pytest.mark.parametrize("total", [5998, 6000, 1])
def test_lines_that_do_not_add_up(orders, total):
    answer = orders.create(total_amount_cents=total)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert list(answer.get_json()["details"]) == ["total_amount_cents"]


def test_a_product_in_two_lines(orders):
    line = {"product_id": "abcdefab-0000-0000-0000-000000000000", "quantity": 1, "unit_price_cents": 1}
    answer = orders.create(items=[line, line | {"product_id": line["product_id"].upper()}], total_amount_cents=2)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, ["items"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("items.0.quantity", value) for value in [*NO_COUNT, 101]),
        *(("items.0.unit_price_cents", value) for value in [*NO_COUNT, 10**12]),
        *(("total_amount_cents", value) for value in [*NO_COUNT, 10**12]),
        *((path, value) for path in ("order_ledger_id", "user_id", "items.0.product_id") for value in NO_ID),
        *(("currency", value) for value in ["", "usd", "XXX", "USDT", "US", 1, None, True, [], {}]),
        *(("items", value) for value in ([], None, {}, "x", [1], [None], [[]], [{}])),
        *((path, 1) for path in ("itmes", "items.0.price")),
    ],
)
def test_bad_fields(orders, path, value):
    answer = orders.client.post("/orders", json=with_value(orders.body(), path, value))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert path.partition(".")[0] in answer.get_json()["details"]


@pytest.mark.parametrize("name", ["order_ledger_id", "user_id", "total_amount_cents", "currency", "items"])
def test_missing_fields(orders, name):
    body = {key: value for key, value in orders.body().items() if key != name}
    answer = orders.client.post("/orders", json=body)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, [name])


def test_fifty_one_lines_are_too_many(orders):
    items = [{"product_id": str(uuid.uuid4()), "quantity": 1, "unit_price_cents": 1} for _ in range(51)]
    assert orders.create(items=items, total_amount_cents=51).status_code == 400


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_REQUESTS)
def test_bad_requests(orders, body, headers, status, code):
    answer = orders.client.post("/orders", data=body, headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (status, code)
