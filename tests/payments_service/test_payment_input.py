"""Nothing that is wrong reaches the books, and every refusal names its field."""

from __future__ import annotations

import pytest

NO_WHOLE_NUMBER = [-1, 0, 1.5, 1.0, True, "1", 10**18, 10**12, None, [], {}]
NO_KEY = ["", "x" * 256, "ü", "a\nb", "a\u0000b", "\x7f", None, 1, True, []]
BAD_FIELDS = [
    *(("amount_cents", value) for value in NO_WHOLE_NUMBER),
    *(("idempotency_key", value) for value in NO_KEY),
    *(("user_id", value) for value in ["", "x", "7b9d2c2e-1111-4222-8333-123456789ab", None, 1, "7b9d2c2e" * 4]),
    *(("currency", value) for value in ["", "usd", "US", "USDD", "ZZZ", "XXX", "USD\n", None, 1]),
    *(("payment_token", value) for value in ["", "x" * 256, "a\nb", "a\u0000b", "\u2028", "\x85", None, 1, True]),
    ("amount", 5),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_authorize_refuses(payments, field, value):
    response = payments.post("authorize", **{**payments.authorize_body(), field: value})
    assert response.status_code == 400
    if value == "a\u0000b":
        assert response.json["error"] == "malformed_json"
    else:
        assert (response.json["error"], list(response.json["details"])) == ("validation_error", [field])
    assert payments.count("payment_authorizations") == payments.count("payment_idempotency_keys") == 0


@pytest.mark.parametrize("field", ["user_id", "amount_cents", "currency", "payment_token", "idempotency_key"])
def test_authorize_needs_every_field(payments, field):
    body = payments.authorize_body()
    del body[field]
    response = payments.post("authorize", **body)
    assert (response.status_code, list(response.json["details"])) == (400, [field])


@pytest.mark.parametrize("amount", [1, 999_999_999_999])
def test_the_smallest_and_the_largest_amount(payments, amount):
    authorization_id = payments.authorized(amount=amount)
    assert payments.capture(authorization_id).json["amount_cents"] == amount
    assert payments.refund(authorization_id).json["amount_cents"] == amount


@pytest.mark.parametrize("key", ["x", "x" * 255, " ~!", "tok_visa"])
def test_every_printable_key_is_taken(payments, key):
    authorization_id = payments.authorized(key=key)
    assert payments.capture(authorization_id, key=key).status_code == 200
    assert payments.refund(authorization_id, key=key).status_code == 200


OTHER_CALLS = [
    *(("capture", "amount_cents", value) for value in NO_WHOLE_NUMBER),
    *(("refund", "amount_cents", value) for value in NO_WHOLE_NUMBER),
    *((call, "idempotency_key", value) for call in ("capture", "void", "refund") for value in NO_KEY),
    *((call, "reason", value) for call in ("void", "refund") for value in ["", "x" * 1001, None, 1, "\n"]),
    *(("capture", name, "x") for name in ("reason", "currency", "authorization_id")),
    ("void", "amount_cents", 1),
    ("refund", "amount", 1),
]


@pytest.mark.parametrize(("call", "field", "value"), OTHER_CALLS)
def test_the_other_calls_refuse(payments, call, field, value):
    authorization_id = payments.captured() if call == "refund" else payments.authorized()
    before = payments.show(authorization_id).json
    response = payments.post(f"{call}/{authorization_id}", **{"idempotency_key": "k", field: value})
    assert response.status_code == 400
    assert response.json["error"] in ("validation_error", "malformed_json")
    assert list(response.json.get("details", {field: ""})) == [field]
    assert payments.show(authorization_id).json == before


@pytest.mark.parametrize("call", ["capture", "void", "refund"])
def test_the_other_calls_need_a_key(payments, call):
    response = payments.post(f"{call}/{payments.authorized()}")
    assert (response.status_code, list(response.json["details"])) == (400, ["idempotency_key"])


@pytest.mark.parametrize("field", ["authorization_key", "idempotency_key"])
def test_void_by_key_needs_both_keys(payments, field):
    body = {"authorization_key": "a", "idempotency_key": "b"}
    for value in NO_KEY:
        assert payments.post("void", **{**body, field: value}).status_code == 400
    del body[field]
    assert list(payments.post("void", **body).json["details"]) == [field]
    assert payments.count("payment_authorizations") == 0


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "malformed_json"),
        (b"{", "application/json", 400, "malformed_json"),
        (b"\xff", "application/json", 400, "malformed_json"),
        (b'{"user_id": NaN}', "application/json", 400, "malformed_json"),
        (b"[" * 60_000, "application/json", 400, "malformed_json"),
        (b'{"idempotency_key": "\\ud800"}', "application/json", 400, "malformed_json"),
        (b"[]", "application/json", 400, "validation_error"),
        (b"null", "application/json", 400, "validation_error"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b" " * 100_000, "application/json", 413, "payload_too_large"),
    ],
)
def test_bodies_that_are_none(payments, data, content_type, status, code):
    client = payments.app.test_client()
    response = client.post("/payments/authorize", data=data, content_type=content_type)
    assert (response.status_code, response.json["error"]) == (status, code)
