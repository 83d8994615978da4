"""Placing an order: the ledger entry, the response, and the calls to other services."""

from __future__ import annotations

import logging
import uuid

import pytest

from tests.edge_api.conftest import PRICE_CENTS, USER_ID
from tests.edge_api.neighbours import answered, request_lost

TOKENS = {"accepted": "tok_canary_4242", "declined": "tok_canary_decline_stolen"}


def test_an_order_is_accepted(shop, entry):
    response = shop.order(quantity=3)
    assert response.status_code == 202
    message = response.json.pop("message")
    assert message.endswith(".")
    order_id = entry()["id"]
    assert response.headers["Location"] == f"/orders/{order_id}"
    assert response.headers["Content-Type"] == "application/json"
    assert "Idempotency-Replayed" not in response.headers
    assert response.json == {
        "order_ledger_id": order_id,
        "status": "AUTHORIZED",
        "total_amount_cents": 3 * PRICE_CENTS,
        "currency": "USD",
        "message": message,
    }


def test_the_ledger_records_the_request(shop, sql, entry, add_product):
    items = [{"product_id": add_product(currency="EUR"), "quantity": 2}]
    body = shop.order_body(email="x@y.example", items=items)
    shop.post("my key", headers={"X-Request-ID": "req-7"}, json=body)
    row = entry()
    asked = ("client_request_id", "user_id", "email", "currency", "total_amount_cents", "request_id", "status")
    assert [row[name] for name in asked] == [
        "my key", USER_ID, "x@y.example", "EUR", 2 * PRICE_CENTS, "req-7", "AUTHORIZED"
    ]  # fmt: skip
    (hold,) = sql("SELECT * FROM payment_authorizations")
    assert row["payment_authorization_id"] == hold["id"]
    assert (hold["amount_cents"], hold["currency"], hold["user_id"]) == (2 * PRICE_CENTS, "EUR", USER_ID)
    assert row["claimed_by"] is None
    (history,) = sql("SELECT array_agg(to_status ORDER BY id) AS walk FROM order_ledger_history")
    assert history["walk"] == ["AWAITING_AUTHORIZATION", "AUTHORIZED"]


def test_an_accepted_order_is_due_at_once(shop, sql):
    shop.order()
    assert sql("SELECT due_at <= now() AS is_due FROM order_ledger") == [{"is_due": True}]


def test_prices_are_frozen(shop, sql, add_product):
    other = add_product(price_cents=1)
    items = [{"product_id": shop.product_id, "quantity": 2}, {"product_id": other, "quantity": 100}]
    assert shop.order(items=items).json["total_amount_cents"] == 2 * PRICE_CENTS + 100
    sql("UPDATE products SET price_cents = price_cents + 1")
    assert shop.order(items=items).json["total_amount_cents"] == 2 * PRICE_CENTS + 100
    lines = sql("SELECT product_id, quantity, unit_price_cents FROM order_ledger_items ORDER BY position")
    assert lines == [{**items[0], "unit_price_cents": PRICE_CENTS}, {**items[1], "unit_price_cents": 1}]


def test_two_lines_for_one_product_are_added_up(shop, sql, add_product):
    other = add_product(price_cents=1)
    items = [
        {"product_id": shop.product_id, "quantity": 60},
        {"product_id": other, "quantity": 1},
        {"product_id": shop.product_id.upper(), "quantity": 40},
    ]
    assert shop.order(items=items).json["total_amount_cents"] == 100 * PRICE_CENTS + 1
    lines = sql("SELECT product_id, quantity FROM order_ledger_items ORDER BY position")
    assert lines == [{"product_id": shop.product_id, "quantity": 100}, {"product_id": other, "quantity": 1}]


def test_fifty_lines_are_accepted(shop, count, add_product):
    items = [{"product_id": add_product(), "quantity": 100} for _ in range(50)]
    assert shop.order(items=items).json["total_amount_cents"] == 5000 * PRICE_CENTS
    assert count("order_ledger_items") == [50]


def test_the_largest_total_is_accepted(shop, add_product):
    items = [{"product_id": add_product(price_cents=999_999_999_999), "quantity": 1}]
    assert shop.order(items=items).json["total_amount_cents"] == 999_999_999_999


def test_an_order_has_one_event(shop, sql):
    order_id = shop.order().json["order_ledger_id"]
    shop.order()
    (event,) = sql("SELECT order_ledger_id, event_type, payload, status FROM outbox")
    assert event == {
        "order_ledger_id": order_id,
        "event_type": "order.authorized",
        "payload": {"version": 1, "order_ledger_id": order_id},
        "status": "PENDING",
    }


def test_only_accepted_orders_notify_the_orchestrator(shop, payments, notified):
    payments.then(request_lost())
    assert shop.order("unanswered").status_code == 503
    assert shop.order("declined", token="tok_decline_stolen").status_code == 402
    assert notified() == 0
    assert shop.order("accepted").status_code == 202
    assert notified() == 1


def test_status_event_response_and_notification_commit_together(shop, payments, sql, entry, notified):
    def take_the_events_place(deliver):
        sql("INSERT INTO outbox (order_ledger_id, event_type, payload) SELECT id, 'taken', '{}' FROM order_ledger")
        return deliver()

    payments.then(take_the_events_place)
    assert shop.order().status_code == 500
    row = entry()
    assert (row["status"], row["payment_authorization_id"]) == ("AWAITING_AUTHORIZATION", None)
    assert row["response_status"] is None
    assert notified() == 0


def test_the_entry_is_committed_before_the_authorization(shop, payments, sql):
    def look_first(deliver):
        seen.extend(sql("SELECT id, status, (SELECT count(*) FROM order_ledger_items) AS lines FROM order_ledger"))
        return deliver()

    seen = []
    payments.then(look_first)
    order_id = shop.order().json["order_ledger_id"]
    assert seen == [{"id": order_id, "status": "AWAITING_AUTHORIZATION", "lines": 1}]


def test_no_transaction_is_open_during_the_authorization(shop, payments, sql):
    def look_first(deliver):
        seen.extend(sql("SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"))
        return deliver()

    seen = []
    payments.then(look_first)
    assert shop.order().status_code == 202
    assert seen == []


def test_authorization_has_its_own_key(shop, payments):
    order_id = shop.order("the client's key", token="tok_mastercard").json["order_ledger_id"]
    assert payments.bodies == [
        {
            "user_id": USER_ID,
            "amount_cents": 2 * PRICE_CENTS,
            "currency": "USD",
            "payment_token": "tok_mastercard",
            "idempotency_key": f"authorize:{order_id}",
        }
    ]


def test_the_request_id_is_passed_on(shop, inventory, payments):
    response = shop.post(headers={"X-Request-ID": "req-42"}, json=shop.order_body())
    assert response.headers["X-Request-ID"] == "req-42"
    assert [call.requests[0].headers["X-Request-ID"] for call in (inventory, payments)] == ["req-42", "req-42"]


def test_an_unknown_product_is_refused(shop, payments, count):
    unknown = [str(uuid.uuid4()), str(uuid.uuid4())]
    items = [{"product_id": product, "quantity": 1} for product in (unknown[0], shop.product_id, unknown[1])]
    response = shop.order(items=items)
    assert (response.status_code, response.json["error"]) == (422, "unknown_product")
    assert response.json["details"] == {"product_ids": unknown}
    assert count("order_ledger", "outbox") == [0, 0]
    assert payments.requests == []


@pytest.fixture
def prices_in(add_product):
    """`prices_in("USD", "EUR")` → the lines of an order for a new product in each currency."""
    return lambda *currencies: [{"product_id": add_product(currency=each), "quantity": 1} for each in currencies]


@pytest.mark.parametrize("named", [{}, {"currency": "EUR"}])
def test_an_order_is_in_the_currency_of_its_products(shop, prices_in, named):
    response = shop.order(items=prices_in("EUR", "EUR"), **named)
    assert (response.status_code, response.json["currency"]) == (202, "EUR")


def mismatched(response):
    assert (response.status_code, response.json["error"]) == (400, "currency_mismatch")
    return response.json["details"]["product_ids"]


def test_an_order_in_two_currencies_is_refused_before_anything_is_written(shop, prices_in, payments, count):
    items = prices_in("EUR", "USD", "EUR", "JPY")
    assert mismatched(shop.order(items=items)) == [items[1]["product_id"], items[3]["product_id"]]
    assert count("order_ledger", "refused_requests") == [0, 0]
    assert payments.requests == []


def test_an_order_that_names_another_currency_is_refused(shop, prices_in, payments, count):
    items = prices_in("USD", "IDR")
    assert mismatched(shop.order(items=items[:1], currency="IDR")) == [items[0]["product_id"]]
    assert mismatched(shop.order(items=items, currency="IDR")) == [items[0]["product_id"]]
    assert mismatched(shop.order(items=items[1:], currency="USD")) == [items[1]["product_id"]]
    assert count("order_ledger", "refused_requests") == [0, 0]
    assert payments.requests == []
    assert shop.order(items=items[:1]).status_code == 202, "a refusal that was not stored leaves the key free"


def test_an_inactive_product_cannot_be_ordered(shop, sql):
    sql("UPDATE products SET is_active = false")
    response = shop.order()
    assert (response.status_code, response.json["error"]) == (422, "unknown_product")
    assert response.json["details"] == {"product_ids": [shop.product_id]}


def test_a_total_over_the_limit_is_refused(shop, payments, count, add_product):
    items = [{"product_id": add_product(price_cents=999_999_999_999), "quantity": 2}]
    response = shop.order(items=items)
    assert (response.status_code, list(response.json["details"])) == (400, ["items"])
    assert count("order_ledger", "refused_requests") == [0, 0]
    assert payments.requests == []


@pytest.mark.parametrize(
    ("token", "plans"),
    [
        (TOKENS["accepted"], []),
        (TOKENS["declined"], []),
        (TOKENS["accepted"], [request_lost()]),
        (TOKENS["accepted"], [answered(500, b"<html>")]),
    ],
    ids=["accepted", "declined", "lost", "broken"],
)
def test_token_is_not_stored_and_email_is_not_logged(shop, payments, sql, caplog, token, plans):
    payments.then(*plans)
    with caplog.at_level(logging.DEBUG):
        answer = shop.order(token=token, email="canary@b.example")
        shop.order(token=token, email="canary@b.example")
        shop.order(token=token + "2", email="canary@b.example")
    tables = sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    kept = "".join(str(sql(f"SELECT t::text FROM {table['tablename']} AS t")) for table in tables)
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "canary@" in kept  # the search would find it
    assert "POST" in logged
    assert "tok_canary" not in kept + logged + answer.text
    assert "canary@" not in logged
