"""Refusals specific to orders. tests/faults has those of every service."""

from __future__ import annotations

import pytest

LINE = {"product_id": "7b9d2c2e-1111-4222-8333-123456789abc", "quantity": 1}


@pytest.fixture
def refuses(shop, inventory, payments, count):
    """Check a refusal, and that it had no effect."""

    def check(response, status, code, *fields):
        assert (response.status_code, response.json["error"]) == (status, code)
        assert set(response.json) <= {"error", "message", "details", "request_id"}
        assert response.json["message"]
        assert response.json["request_id"] == response.headers["X-Request-ID"]
        assert set(response.json.get("details", {})) == set(fields)
        assert response.headers["Content-Type"] == "application/json"
        assert inventory.requests == payments.requests == []
        assert count("order_ledger", "refused_requests", "outbox", "payment_authorizations") == [0, 0, 0, 0]

    return check


def test_the_sum_of_lines_for_one_product_is_limited(shop, refuses):
    items = [{**LINE, "quantity": 100}, {**LINE, "product_id": LINE["product_id"].upper()}]
    refuses(shop.order(items=items), 400, "validation_error", "items")


def test_one_response_names_all_invalid_fields(shop, refuses):
    response = shop.order(user_id="x", email="x", items=[], extra=1)
    refuses(response, 400, "validation_error", "user_id", "email", "items", "extra")
    assert all(isinstance(messages, list) and messages for messages in response.json["details"].values())


def test_a_refusal_does_not_repeat_the_body(shop):
    response = shop.order(payment={"method": "tok_canary", "token": ["tok_canary"]}, email="canary")
    assert "canary" not in response.text


@pytest.mark.parametrize("key", ["x", "x" * 255, "!\"#$%&'()*+,-./ ~", "' OR 1=1 --", "%s %(id)s", "0"])
def test_every_printable_key_is_accepted(shop, key):
    response = shop.order(key)
    assert response.status_code == 202
    assert shop.get(response.json["order_ledger_id"]).json["client_request_id"] == key
