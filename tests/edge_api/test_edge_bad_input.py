"""Whatever is sent, the answer is a refusal in the one error shape, and nothing of it is written or asked for."""

from __future__ import annotations

import io
import json

import pytest

from tests.bad_bodies import BAD_REQUESTS, NO_COUNT, NO_ID, NO_TEXT, with_value

KEY = {"Idempotency-Key": "k"}
LINE = {"product_id": "7b9d2c2e-1111-4222-8333-123456789abc", "quantity": 1}
NO_EMAIL = ["", "a", "a@", "@b.example", "a@b", "a b@c.example", "a@b.example\n", f"{'a' * 250}@b.example", None, 1, []]
NO_CURRENCY = ["", "usd", "US", "USDD", "XXX", "USD\n", None, 1, True, ["USD"]]
NO_TOKEN = [*NO_TEXT, "tok\u2028", "tok\x85"]
NO_OBJECT = [None, 1, "x", True, [[]]]
NO_ITEMS = [None, {}, "x", 1, [], [LINE] * 51, [None], [[]], ["x"], [{}], [LINE, {}]]
BAD_VALUES = [
    *(("items.quantity", value) for value in [*NO_COUNT, 101, -(10**18)]),
    *(("items.product_id", value) for value in NO_ID),
    *(("user_id", value) for value in NO_ID),
    *(("email", value) for value in NO_EMAIL),
    *(("currency", value) for value in NO_CURRENCY),
    *(("payment.token", value) for value in NO_TOKEN),
    *(("payment.method", value) for value in ["", "cash", "CARD", None, 1, True, []]),
    *(("payment", value) for value in NO_OBJECT),
    *(("items", value) for value in NO_ITEMS),
]


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


@pytest.mark.parametrize(("path", "value"), BAD_VALUES, ids=lambda value: str(value)[:30])
def test_values_that_are_none(shop, refuses, path, value):
    body = shop.order_body(currency="USD")
    path = path.replace("items.", "items.0.")
    refuses(shop.post(json=with_value(body, path, value)), 400, "validation_error", path.partition(".")[0])


@pytest.mark.parametrize("field", ["user_id", "email", "items", "payment"])
def test_a_missing_field(shop, refuses, field):
    body = shop.order_body()
    del body[field]
    refuses(shop.post(json=body), 400, "validation_error", field)


@pytest.mark.parametrize("field", ["product_id", "quantity"])
def test_a_missing_field_of_a_line(shop, refuses, field):
    line = {name: value for name, value in LINE.items() if name != field}
    response = shop.order(items=[LINE, line])
    refuses(response, 400, "validation_error", "items")
    assert list(response.json["details"]["items"]["1"]) == [field]


@pytest.mark.parametrize("field", ["method", "token"])
def test_a_missing_field_of_the_payment(shop, refuses, field):
    payment = {name: value for name, value in shop.order_body()["payment"].items() if name != field}
    response = shop.order(payment=payment)
    refuses(response, 400, "validation_error", "payment")
    assert list(response.json["details"]["payment"]) == [field]


@pytest.mark.parametrize("name", ["total_amount_cents", "USER_ID", "", "__proto__", "order_ledger_id"])
def test_an_unknown_field(shop, refuses, name):
    refuses(shop.order(**{name: 1}), 400, "validation_error", name)


def test_an_unknown_field_within(shop, refuses):
    priced = [{**LINE, "unit_price_cents": 1}]
    refuses(shop.order(items=priced), 400, "validation_error", "items")
    refuses(shop.order(payment={"method": "card", "token": "t", "cvc": "1"}), 400, "validation_error", "payment")


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


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_REQUESTS)
def test_bodies_that_are_none(shop, refuses, body, headers, status, code):
    fields = ["_schema"] if code == "validation_error" else []
    refuses(shop.post(data=body, headers=headers), status, code, *fields)


@pytest.mark.parametrize("character", ["\\u0000", "\\ud800", "\\udc00\\ud800"])
@pytest.mark.parametrize("field", ["email", "token"])
def test_characters_that_are_none(shop, refuses, field, character):
    text = json.dumps(shop.order_body(token="TOKEN")).replace({"email": "a@b", "token": "TOKEN"}[field], character)
    refuses(shop.post(data=text, headers={"Content-Type": "application/json"}), 400, "malformed_json")


def test_a_field_twice(shop, refuses):
    text = json.dumps(shop.order_body()).replace('"quantity": 2', '"quantity": 2, "quantity": 3')
    refuses(shop.post(data=text, headers={"Content-Type": "application/json"}), 400, "malformed_json")


def test_an_endless_body(shop, refuses):
    class Stream(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            taken.append(len(buffer))
            buffer[:] = b" " * len(buffer)
            return len(buffer)

    taken = []
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    environ = {"wsgi.input": Stream(), "wsgi.input_terminated": True}
    response = shop.post(headers=headers, environ_overrides=environ)
    assert response.status_code in (400, 413)
    refuses(response, response.status_code, response.json["error"])
    assert 0 < sum(taken) < 1_000_000


def test_no_key(shop, refuses):
    refuses(shop.order(None), 400, "missing_idempotency_key")


@pytest.mark.parametrize("key", ["", "x" * 256, "\xfc", "a\tb", "\x7f", "\x80"], ids=ascii)
def test_keys_that_are_none(shop, refuses, key):
    refuses(shop.order(key), 400, "validation_error", "Idempotency-Key")


@pytest.mark.parametrize("key", ["x", "x" * 255, "!\"#$%&'()*+,-./ ~", "' OR 1=1 --", "%s %(id)s", "0"])
def test_every_printable_key(shop, key):
    response = shop.order(key)
    assert response.status_code == 202
    assert shop.get(response.json["order_ledger_id"]).json["client_request_id"] == key


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/orders", 405, "method_not_allowed"),
        ("DELETE", "/orders/7b9d2c2e-1111-4222-8333-123456789abc", 405, "method_not_allowed"),
        ("POST", "/orders/7b9d2c2e-1111-4222-8333-123456789abc", 405, "method_not_allowed"),
        ("POST", "/order", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
    ],
)
def test_calls_that_there_are_not(shop, refuses, method, path, status, code):
    refuses(shop.app.test_client().open(path, method=method), status, code)


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, "a\x7f", "\xfc", "<script>"])
def test_a_request_id_that_is_none(shop, offered):
    response = shop.post(headers={"X-Request-ID": offered}, json={})
    assert response.headers["X-Request-ID"] not in ("", offered)
    assert response.json["request_id"] == response.headers["X-Request-ID"]
