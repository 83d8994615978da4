"""Cards whose refunds are refused for good or take their time, and several refunds of one payment."""

from __future__ import annotations

import pytest

from common.process.settings import Settings
from payments_service.app import create_app
from tests import credentials


@pytest.fixture
def captured(payments):
    """`captured("fail_refund")`: a captured payment of 1000 with this token."""

    def make(token):
        authorization_id = payments.authorized(token=token)
        payments.capture(authorization_id)
        return authorization_id

    return make


def settle(payments):
    return payments.app.test_client().post("/payments/simulate/settle_refunds").json


def sums(payments, authorization_id):
    shown = payments.show(authorization_id).json
    return shown["status"], shown["refunded_amount_cents"], shown["pending_refund_cents"]


def test_refund_is_refused_for_good(payments, captured):
    authorization_id = captured("tok_fail_refund")
    for replayed in (None, "true"):
        answer = payments.refund(authorization_id, key="r", amount_cents=5)
        assert (answer.status_code, answer.json["error"]) == (402, "refund_declined")
        assert answer.json["details"] == {"is_retryable": False}
        assert answer.headers.get("Idempotency-Replayed") == replayed
    assert payments.refund(authorization_id).status_code == 402
    assert sums(payments, authorization_id) == ("CAPTURED", 0, 0)
    assert payments.count("payment_refunds") == 0


def test_pending_refund_is_settled_later(payments, captured):
    authorization_id = captured("tok_pending_refund")
    first = payments.refund(authorization_id, key="r", amount_cents=400)
    assert first.status_code == 200
    assert (first.json["status"], first.json["refunded_at"], first.json["amount_cents"]) == ("PENDING", None, 400)
    assert payments.refund(authorization_id, key="r", amount_cents=400).json == first.json
    assert sums(payments, authorization_id) == ("CAPTURED", 0, 400)
    assert [(each["type"], each["status"]) for each in payments.show(authorization_id).json["movements"]] == [
        ("authorize", "AUTHORIZED"),
        ("capture", "CAPTURED"),
        ("refund", "PENDING"),
    ]
    assert settle(payments) == {"settled_count": 1}
    again = payments.refund(authorization_id, key="r", amount_cents=400)
    assert (again.json["status"], again.json["refund_id"]) == ("REFUNDED", first.json["refund_id"])
    assert again.json["refunded_at"] > payments.show(authorization_id).json["captured_at"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert sums(payments, authorization_id) == ("CAPTURED", 400, 0)
    assert settle(payments) == {"settled_count": 0}


def test_pending_refunds_count_as_refunded(payments, captured):
    authorization_id = captured("pending_refund")
    payments.refund(authorization_id, amount_cents=600)
    answer = payments.refund(authorization_id, amount_cents=401)
    assert answer.json["details"] == {"amount_cents": ["Must be at most 400."]}
    assert payments.refund(authorization_id).json["amount_cents"] == 400
    assert payments.refund(authorization_id).json["error"] == "invalid_status_transition"
    assert settle(payments) == {"settled_count": 2}
    assert sums(payments, authorization_id) == ("REFUNDED", 1000, 0)


def test_refunds_at_once_never_exceed_the_captured_amount(payments, at_once):
    authorization_id = payments.captured(amount=1000)
    answers = at_once(*(lambda: payments.refund(authorization_id, amount_cents=300) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [400] * 5
    assert sums(payments, authorization_id) == ("CAPTURED", 900, 0)


def test_settling_and_refunding_at_once_agree(payments, captured, at_once):
    authorization_id = captured("pending_refund")
    at_once(
        *(lambda: payments.refund(authorization_id, amount_cents=100) for _ in range(8)),
        *(lambda: settle(payments) for _ in range(4)),
    )
    settle(payments)
    assert sums(payments, authorization_id) == ("CAPTURED", 800, 0)


def test_production_has_no_simulated_settling(migrated_url):
    keys = {**credentials.SETTINGS, "APP_ENV": "production", "LOG_LEVEL": "WARNING"}
    app = create_app(Settings.load({"DATABASE_URL": f"{migrated_url}", **keys}))
    assert app.test_client().post("/payments/simulate/settle_refunds").status_code == 404
    assert "/payments/simulate/settle_refunds" not in app.test_client().get("/openapi.json").json["paths"]
