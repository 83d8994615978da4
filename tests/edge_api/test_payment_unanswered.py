"""A missing or unreadable response of the payments service is not a decline, and nothing is held twice."""

from __future__ import annotations

import pytest
import requests

from tests.edge_api.conftest import PRICE_CENTS
from tests.edge_api.neighbours import answer_lost, answered, changed, cut_short, request_lost

HOLD = {"authorization_id": "auth_" + "a" * 24, "status": "AUTHORIZED", "amount_cents": 2 * PRICE_CENTS}
NO_ANSWERS = {
    "refused": request_lost(),
    "connect timeout": request_lost(requests.ConnectTimeout),
    "read timeout": request_lost(requests.ReadTimeout),
    "broken off": request_lost(requests.exceptions.ChunkedEncodingError),
    "answer lost": answer_lost(),
    "answer reset": answer_lost(requests.ConnectionError),
    "answer cut short": cut_short,
    "500": answered(500, {"error": "internal_error"}),
    "502 with HTML": answered(502, b"<html>Bad GuardedService</html>", "text/html"),
    "503": answered(503, {"error": "gateway_error"}),
    "503 with the code of a refusal": answered(503, {"error": "payment_declined"}),
    "200 with HTML": answered(200, b"<html>Welcome</html>", "text/html"),
    "200 with nothing": answered(200, b""),
    "200 with null": answered(200, None),
    "200 with a list": answered(200, [HOLD]),
    "200 with an empty object": answered(200, {}),
    "200 too deep to read": answered(200, b"[" * 100_000),
    "200 for another service": answered(200, {"status": "healthy"}),
    "another amount": changed(amount_cents=2 * PRICE_CENTS - 1),
    "an amount as text": changed(amount_cents=str(2 * PRICE_CENTS)),
    "another currency": changed(currency="EUR"),
    "another state": changed(status="DECLINED"),
    "no id": changed(authorization_id=...),
    "null as id": changed(authorization_id=None),
    "empty id": changed(authorization_id=""),
    "an id that no column takes": changed(authorization_id="auth_\0"),
    "302": answered(302, {}),
    "401": answered(401, {"error": "unauthorized"}),
    "403": answered(403, {"error": "forbidden"}),
    "404 without our code": answered(404, {"message": "no such route"}),
    "404 with HTML": answered(404, b"<html>", "text/html"),
    "405": answered(405, {"error": "method_not_allowed"}),
    "402 of another program": answered(402, b"Payment Required", "text/plain"),
    "402 with an unknown code": answered(402, {"error": "quota_exceeded"}),
    "400 for our request": answered(400, {"error": "validation_error", "message": "?"}),
    "400 for malformed JSON": answered(400, {"error": "malformed_json", "message": "?"}),
    "422 for our own key": answered(422, {"error": "idempotency_key_reused", "message": "?"}),
    "409 in progress": answered(409, {"error": "request_in_progress"}),
    "429": answered(429, {"error": "rate_limited"}),
}


@pytest.fixture(params=NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def no_answer(request):
    return request.param


def test_key_stays_open_and_the_repeat_continues(shop, payments, no_answer, count, entry):
    payments.then(no_answer)
    first = shop.order()
    assert (first.status_code, first.json["error"]) == (503, "gateway_error")
    assert int(first.headers["Retry-After"]) >= 1
    stopped = entry()
    assert (stopped["status"], stopped["failure_code"], stopped["response_status"], stopped["claimed_by"]) == (
        "AWAITING_AUTHORIZATION", None, None, None
    )  # fmt: skip
    assert count("outbox") == [0]

    second = shop.order()
    assert second.status_code == 202
    assert "Idempotency-Replayed" not in second.headers
    assert second.json["order_ledger_id"] == stopped["id"]
    assert payments.bodies == [payments.bodies[0]] * 2
    assert count("order_ledger", "order_ledger_items", "outbox", "payment_authorizations") == [1, 1, 1, 1]
    assert shop.order().data == second.data


def test_repeat_finds_a_decline_whose_response_was_lost(shop, payments, count):
    payments.then(answer_lost())
    assert shop.order(token="tok_decline_expired").status_code == 503
    response = shop.order(token="tok_decline_expired")
    assert (response.status_code, response.json["details"]["decline_code"]) == (402, "card_expired")
    assert count("payment_authorizations", "outbox") == [1, 0]


def test_repeated_losses_leave_one_hold(shop, payments, count):
    payments.then(*[request_lost(), answer_lost()] * 3)
    assert [shop.order().status_code for _ in range(7)] == [503] * 6 + [202]
    assert len({body["idempotency_key"] for body in payments.bodies}) == 1
    assert count("order_ledger", "payment_authorizations", "outbox") == [1, 1, 1]


def test_the_price_of_the_first_request_counts(shop, payments, sql):
    payments.then(request_lost())
    shop.order()
    sql("UPDATE products SET price_cents = price_cents + 1")
    assert shop.order().json["total_amount_cents"] == 2 * PRICE_CENTS
    assert {body["amount_cents"] for body in payments.bodies} == {2 * PRICE_CENTS}


def test_a_repeat_needs_no_prices(shop, inventory, payments):
    payments.then(request_lost())
    shop.order()
    inventory.then(request_lost())
    assert shop.order().status_code == 202


def test_an_open_key_with_another_body_is_refused(shop, payments, count):
    payments.then(request_lost())
    shop.order()
    assert shop.order(token="tok_mastercard").json["error"] == "idempotency_key_reused"
    assert len(payments.requests) == 1
    assert shop.order().status_code == 202


def test_an_open_entry_is_due_for_the_sweeper(shop, payments, sql):
    """The sweeper finds the entry after ABANDONED_AFTER_S (60), counted from when the request stopped."""
    payments.then(request_lost())
    shop.order()
    (row,) = sql(
        "SELECT due_at > now() + interval '50 s' AND due_at <= now() + interval '60 s' AS ok FROM order_ledger"
    )
    assert row["ok"]


def test_an_entry_is_due_for_the_sweeper_from_its_first_commit(shop, payments, sql):
    """The first commit makes it due, so that the sweeper finds it even if the process dies right after."""

    def look_first(deliver):
        seen.extend(
            sql("SELECT due_at > now() + interval '50 s' AND due_at <= now() + interval '60 s' AS ok FROM order_ledger")
        )
        return deliver()

    seen = []
    payments.then(look_first)
    shop.order()
    assert seen == [{"ok": True}]


BROKEN_PRICES = {
    "no price": [{"id": "ID"}],
    "null": [{"id": "ID", "price_cents": None}],
    "text": [{"id": "ID", "price_cents": "1250"}],
    "a fraction": [{"id": "ID", "price_cents": 12.5}],
    "true": [{"id": "ID", "price_cents": True}],
    "nothing": [{"id": "ID", "price_cents": 0}],
    "negative": [{"id": "ID", "price_cents": -1}],
    "no id": [{"price_cents": 1250}],
    "no currency": [{"id": "ID", "price_cents": 1250, "currency": ...}],
    "an unknown currency": [{"id": "ID", "price_cents": 1250, "currency": "XXX"}],
    "a list of currencies": [{"id": "ID", "price_cents": 1250, "currency": ["USD"]}],
    "neither active nor inactive": [{"id": "ID", "price_cents": 1250, "is_active": None}],
    "no list": {},
    "null for a list": None,
}


@pytest.mark.parametrize("products", BROKEN_PRICES.values(), ids=BROKEN_PRICES.keys())
def test_unreadable_prices_are_refused(shop, inventory, payments, count, products):
    found = products
    if products:
        usual = {"currency": "USD", "is_active": True} | products[0]
        usual |= {"id": shop.product_id} if "id" in usual else {}
        found = [{name: value for name, value in usual.items() if value is not ...}]
    inventory.then(answered(200, {"products": found, "next_cursor": None}))
    response = shop.order()
    assert (response.status_code, response.json["error"]) == (503, "service_unavailable")
    assert count("order_ledger", "refused_requests") == [0, 0]
    assert payments.requests == []
    assert shop.order().status_code == 202


@pytest.mark.parametrize("plan", [answered(502, b"<html>"), answered(404, {"error": "not_found"}), request_lost()])
def test_missing_prices_are_refused(shop, inventory, count, plan):
    inventory.then(plan)
    response = shop.order()
    assert (response.status_code, response.json["error"]) == (503, "service_unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert count("order_ledger", "refused_requests") == [0, 0]
