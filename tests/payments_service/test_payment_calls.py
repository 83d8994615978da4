"""Each call, each status, each code."""

from __future__ import annotations

import re

import pytest

from payments_service import operations

UNKNOWN = "auth_" + "x" * 24


def refusal(response):
    """Return (status, code, details) of a refusal in the standard error shape."""
    body = response.json
    assert body["message"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    return response.status_code, body["error"], body.get("details", {})


def test_authorize_holds_the_money(payments):
    response = payments.authorize(amount=1234)
    assert response.status_code == 200
    body = response.json
    assert re.fullmatch(r"auth_[0-9A-Za-z]{24}", body.pop("authorization_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", body.pop("created_at"))
    assert body == {"status": "AUTHORIZED", "amount_cents": 1234, "currency": "USD"}


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_decline_insufficient", "insufficient_funds"),
        ("decline_insufficient_funds", "insufficient_funds"),
        ("tok_decline_expired", "card_expired"),
        ("tok_decline_stolen", "card_declined"),
        ("tok_decline_", "generic_decline"),
        ("decline_whatever", "generic_decline"),
    ],
)
def test_declining_tokens_are_declined(payments, token, code):
    response = payments.authorize(token=token)
    assert refusal(response) == (402, "payment_declined", {"decline_code": code, "is_retryable": False})
    assert "Retry-After" not in response.headers
    assert payments.sql("SELECT status, decline_code FROM payment_authorizations") == [
        {"status": "DECLINED", "decline_code": code}
    ]


@pytest.mark.parametrize("token", ["tok_visa", "decline", "DECLINE_expired", "fail_capture", "ü", "x" * 255, " "])
def test_other_tokens_are_authorized(payments, token):
    assert payments.authorize(token=token).status_code == 200


def test_capture_defaults_to_the_full_amount(payments):
    authorization_id = payments.authorized(amount=700)
    body = payments.capture(authorization_id).json
    assert re.fullmatch(r"cap_[0-9A-Za-z]{24}", body.pop("capture_id"))
    assert body.pop("captured_at").endswith("Z")
    assert body == {"authorization_id": authorization_id, "status": "CAPTURED", "amount_cents": 700, "currency": "USD"}


def test_capture_can_be_partial(payments):
    authorization_id = payments.authorized(amount=700)
    assert payments.capture(authorization_id, amount_cents=300).json["amount_cents"] == 300
    assert payments.show(authorization_id).json["captured_amount_cents"] == 300


def test_capture_of_more_than_is_held_is_refused(payments):
    authorization_id = payments.authorized(amount=700)
    problem = {"amount_cents": ["Must be at most 700."]}
    assert refusal(payments.capture(authorization_id, key="c", amount_cents=701)) == (400, "validation_error", problem)
    assert payments.capture(authorization_id, key="c", amount_cents=700).status_code == 200  # a refusal uses up no key


def test_capture_happens_once(payments):
    authorization_id = payments.authorized()
    capture_id = payments.capture(authorization_id).json["capture_id"]
    assert refusal(payments.capture(authorization_id)) == (409, "already_captured", {"capture_id": capture_id})
    payments.refund(authorization_id)
    assert refusal(payments.capture(authorization_id)) == (409, "already_captured", {"capture_id": capture_id})


def test_capture_after_void_is_refused(payments):
    authorization_id = payments.authorized(token="fail_capture")
    payments.void(authorization_id)
    assert refusal(payments.capture(authorization_id)) == (409, "already_voided", {})


def test_permanently_refused_capture_can_still_be_voided(payments):
    authorization_id = payments.authorized(token="tok_fail_capture")
    details = {"decline_code": "capture_refused", "is_retryable": False}
    for _ in range(2):
        assert refusal(payments.capture(authorization_id)) == (402, "payment_declined", details)
    assert payments.show(authorization_id).json["status"] == "AUTHORIZED"
    assert payments.void(authorization_id).status_code == 200


def test_void_is_idempotent(payments):
    authorization_id = payments.authorized()
    first = payments.void(authorization_id, reason="out of stock")
    assert first.status_code == 200
    assert first.json == {
        "authorization_id": authorization_id,
        "status": "VOIDED",
        "voided_at": first.json["voided_at"],
    }
    again = payments.void(authorization_id, reason="another")
    assert (again.status_code, again.json) == (200, first.json)
    assert payments.sql("SELECT void_reason FROM payment_authorizations") == [{"void_reason": "out of stock"}]


def test_void_after_capture_and_refund(payments):
    authorization_id = payments.authorized()
    capture_id = payments.capture(authorization_id).json["capture_id"]
    assert refusal(payments.void(authorization_id)) == (409, "already_captured", {"capture_id": capture_id})
    payments.refund(authorization_id)
    assert refusal(payments.void(authorization_id)) == (409, "already_captured", {"capture_id": capture_id})


def test_refund_defaults_to_the_full_amount(payments):
    authorization_id = payments.captured(amount=900)
    body = payments.refund(authorization_id, reason="damaged").json
    assert re.fullmatch(r"re_[0-9A-Za-z]{24}", body.pop("refund_id"))
    assert body.pop("refunded_at").endswith("Z")
    assert body == {"authorization_id": authorization_id, "status": "REFUNDED", "amount_cents": 900}
    assert payments.show(authorization_id).json["status"] == "REFUNDED"


def test_refund_can_be_split(payments):
    authorization_id = payments.captured(amount=900)
    assert payments.refund(authorization_id, amount_cents=200).json["amount_cents"] == 200
    assert payments.show(authorization_id).json["status"] == "CAPTURED"
    problem = {"amount_cents": ["Must be at most 700."]}
    assert refusal(payments.refund(authorization_id, amount_cents=701)) == (400, "validation_error", problem)
    assert payments.refund(authorization_id).json["amount_cents"] == 700
    shown = payments.show(authorization_id).json
    assert (shown["status"], shown["refunded_amount_cents"]) == ("REFUNDED", 900)
    states = {"current_status": "REFUNDED", "attempted_status": "REFUNDED"}
    assert refusal(payments.refund(authorization_id, amount_cents=1)) == (409, "invalid_status_transition", states)


def test_refund_of_a_partial_capture(payments):
    authorization_id = payments.authorized(amount=900)
    payments.capture(authorization_id, amount_cents=400)
    assert payments.refund(authorization_id, amount_cents=401).status_code == 400
    assert payments.refund(authorization_id).json["amount_cents"] == 400


def test_refund_without_a_capture_is_refused(payments):
    authorization_id = payments.authorized()
    states = {"current_status": "AUTHORIZED", "attempted_status": "REFUNDED"}
    assert refusal(payments.refund(authorization_id)) == (409, "invalid_status_transition", states)
    payments.void(authorization_id)
    assert refusal(payments.refund(authorization_id)) == (409, "already_voided", {})


def test_show_lists_every_movement(payments):
    authorization_id = payments.authorized(amount=900)
    capture_id = payments.capture(authorization_id, amount_cents=800).json["capture_id"]
    refund_ids = [payments.refund(authorization_id, amount_cents=amount).json["refund_id"] for amount in (100, 300)]
    shown = payments.show(authorization_id)
    assert shown.status_code == 200
    movements = [(each["type"], each["id"], each["amount_cents"]) for each in shown.json["movements"]]
    assert movements == [
        ("authorize", authorization_id, 900),
        ("capture", capture_id, 800),
        ("refund", refund_ids[0], 100),
        ("refund", refund_ids[1], 300),
    ]
    times = [each["at"] for each in shown.json["movements"]]
    assert times == sorted(times)
    expected = {"status": "CAPTURED", "amount_cents": 900, "captured_amount_cents": 800, "refunded_amount_cents": 400}
    assert shown.json.items() >= {**expected, "capture_id": capture_id, "voided_at": None}.items()


def test_show_of_a_void_and_of_a_hold(payments):
    authorization_id = payments.authorized()
    hold = payments.show(authorization_id).json
    amounts = (hold["status"], hold["captured_amount_cents"], hold["refunded_amount_cents"], hold["captured_at"])
    assert amounts == ("AUTHORIZED", 0, 0, None)
    voided_at = payments.void(authorization_id).json["voided_at"]
    shown = payments.show(authorization_id).json
    assert (shown["status"], shown["voided_at"]) == ("VOIDED", voided_at)
    assert shown["movements"][-1] == {
        "type": "void",
        "status": "VOIDED",
        "id": authorization_id,
        "amount_cents": 1000,
        "at": voided_at,
    }


@pytest.mark.parametrize("authorization_id", [UNKNOWN, "x", "auth_%00" + "x" * 23, UNKNOWN + "%0A", "auth_" + "é" * 24])
def test_unknown_authorization_is_404(payments, authorization_id):
    not_found = (404, "authorization_not_found", {})
    for call in (payments.capture, payments.void, payments.refund, payments.show):
        assert refusal(call(authorization_id)) == not_found


def test_declined_or_unknown_payment_is_404_to_other_calls(payments):
    payments.authorize(token="decline_expired")
    payments.void_by_key("never seen")
    for row in payments.sql("SELECT id FROM payment_authorizations"):
        for call in (payments.capture, payments.void, payments.refund, payments.show):
            assert refusal(call(row["id"])) == (404, "authorization_not_found", {})


def test_void_by_key_of_a_hold(payments):
    authorization_id = payments.authorized(key="lost answer")
    first = payments.void_by_key("lost answer", reason="abandoned")
    assert first.status_code == 200
    assert first.json == {
        "authorization_id": authorization_id,
        "status": "VOIDED",
        "voided_at": first.json["voided_at"],
    }
    assert payments.show(authorization_id).json["voided_at"] == first.json["voided_at"]
    assert payments.void_by_key("lost answer").json == first.json
    assert payments.void(authorization_id).json == first.json


def test_void_by_key_of_a_voided_or_captured_payment(payments):
    voided, captured = payments.authorized(key="voided"), payments.authorized(key="captured")
    voided_at = payments.void(voided).json["voided_at"]
    assert payments.void_by_key("voided").json["voided_at"] == voided_at
    capture_id = payments.capture(captured).json["capture_id"]
    assert refusal(payments.void_by_key("captured")) == (409, "already_captured", {"capture_id": capture_id})


def test_void_by_key_of_a_declined_payment(payments):
    declined = payments.authorize(key="k", token="decline_stolen")
    answers = [payments.void_by_key("k") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert (answers[0].json["authorization_id"], answers[0].json["status"]) == (None, "VOIDED")
    assert payments.authorize(key="k", token="decline_stolen").data == declined.data  # still declined
    assert payments.sql("SELECT status FROM payment_authorizations") == [{"status": "DECLINED"}]


def test_authorize_arriving_after_its_void_by_key_is_refused(payments):
    tombstone = payments.void_by_key("late")
    assert (tombstone.status_code, tombstone.json["authorization_id"]) == (200, None)
    assert payments.void_by_key("late").json == tombstone.json
    for token in ("tok_visa", "tok_visa", "tok_mastercard", "decline_expired"):
        assert refusal(payments.authorize(key="late", token=token)) == (409, "already_voided", {})
    assert payments.sql("SELECT status, amount_cents FROM payment_authorizations") == [
        {"status": "VOIDED", "amount_cents": None}
    ]


def test_authorize_repeated_after_its_void_by_key_holds_nothing(payments):
    first = payments.authorize(key="k")
    payments.void_by_key("k")
    again = payments.authorize(key="k")
    assert (again.data, again.headers["Idempotency-Replayed"]) == (first.data, "true")
    assert payments.show(first.json["authorization_id"]).json["status"] == "VOIDED"
    assert payments.count("payment_authorizations") == 1


def test_service_has_health_errors_and_an_openapi_document(payments):
    client = payments.app.test_client()
    assert client.get("/health").json == {"status": "healthy", "service": "payments_service", "database": "connected"}
    assert client.get("/payments/authorize/x/y").json["error"] == "not_found"
    for call in (client.get, client.put):
        assert call("/payments/authorize").json["error"] == "method_not_allowed"
    paths = client.get("/openapi.json").json["paths"]
    assert set(paths) == {
        "/payments/authorize",
        "/payments/capture/{authorization_id}",
        "/payments/void/{authorization_id}",
        "/payments/void",
        "/payments/refund/{authorization_id}",
        "/payments/changes",
        "/payments/simulate/settle_refunds",
        "/payments/gateway/payments",
        "/payments/gateway/refunds",
        "/payments/gateway/payment",
        "/payments/{authorization_id}",
        "/",
        "/health",
        "/live",
    }
    assert set(paths["/payments/authorize"]["post"]["responses"]) == {
        *("200", "400", "401", "402", "403", "409", "413", "415", "422", "503")
    }


def test_void_of_an_unknown_id_leaves_a_tombstone(payments, monkeypatch):
    first = payments.void(UNKNOWN, "k", reason="order failed")
    again = payments.void(UNKNOWN, "k", reason="order failed")
    assert refusal(first) == (404, "authorization_not_found", {})
    assert again.data == first.data
    assert again.headers["Idempotency-Replayed"] == "true"
    assert refusal(payments.void(UNKNOWN)) == (404, "authorization_not_found", {})
    monkeypatch.setattr(operations, "new_id", lambda _: UNKNOWN)
    assert refusal(payments.authorize()) == (409, "already_voided", {})
    assert payments.sql("SELECT id, status, void_reason FROM payment_authorizations") == [
        {"id": UNKNOWN, "status": "VOIDED", "void_reason": "order failed"}
    ]


def test_tombstone_of_an_unknown_id_is_404_to_other_calls(payments):
    payments.void(UNKNOWN)
    for call in (payments.capture, payments.refund, payments.show):
        assert refusal(call(UNKNOWN)) == (404, "authorization_not_found", {})
