"""What is particular to an order that is refused; all that is refused everywhere stands in tests/faults."""

from __future__ import annotations

import pytest

LINE = {"product_id": "7b9d2c2e-1111-4222-8333-123456789abc", "quantity": 1}


@pytest.fixture
def refuses(shop, inventory, payments, count):
    """Check an answer, and that it is all that happened."""

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


def test_the_lines_of_one_product_are_too_many_together(shop, refuses):
    items = [{**LINE, "quantity": 100}, {**LINE, "product_id": LINE["product_id"].upper()}]
    refuses(shop.order(items=items), 400, "validation_error", "items")


def test_all_faults_are_named_at_once(shop, refuses):
    response = shop.order(user_id="x", email="x", items=[], extra=1)
    refuses(response, 400, "validation_error", "user_id", "email", "items", "extra")
    assert all(isinstance(messages, list) and messages for messages in response.json["details"].values())


def test_what_was_sent_is_not_repeated(shop):
    response = shop.order(payment={"method": "tok_canary", "token": ["tok_canary"]}, email="canary")
    assert "canary" not in response.text


@pytest.mark.parametrize("key", ["x", "x" * 255, "!\"#$%&'()*+,-./ ~", "' OR 1=1 --", "%s %(id)s", "0"])
def test_every_printable_key(shop, key):
    response = shop.order(key)
    assert response.status_code == 202
    assert shop.get(response.json["order_ledger_id"]).json["client_request_id"] == key
