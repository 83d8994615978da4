"""What Stripe changes by itself: refunds that fail after they had succeeded, its messages, and holds that end."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import pytest

from common.process.settings import Settings
from payments_service.app import create_app
from stripe_double import cards
from tests import credentials
from tests.payments_service.stripe_worlds import KEY
from tests.payments_service.worlds import Money

CARD = "pm_card_visa"
SECRET = "whsec_of_the_tests"
NOTHING = {"failed_refunds": [], "decided_refunds": [], "ending_holds": [], "has_more": False}


@pytest.fixture
def payments(over_stripe, url, stripe_double):
    """The service with the secret of Stripe's webhook endpoint."""
    stripe = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe_double.url}
    usual = {"DATABASE_URL": url, "LOG_LEVEL": "ERROR", "STRIPE_WEBHOOK_SECRET": SECRET, **credentials.SETTINGS}
    return type(over_stripe.payments)(create_app(Settings.load({**usual, **stripe}, "payments_service")), url)


@pytest.fixture
def double(over_stripe):
    return over_stripe.double


def refunded(payments, token=CARD, key="refund:1", **more):
    authorization_id = payments.authorized(token=token)
    payments.capture(authorization_id)
    response = payments.refund(authorization_id, key, **more)
    assert response.status_code == 200
    return authorization_id, response.json["refund_id"]


def changes(payments, *noted):
    response = payments.post("changes", noted=list(noted))
    assert response.status_code == 200
    return response.json


def make_looks_due(payments):
    payments.sql("UPDATE gateway_refunds SET look_at = now() WHERE look_at IS NOT NULL")


def test_refund_that_fails_later_is_found_told_until_it_is_noted_and_off_the_books(payments, over_stripe, double):
    authorization_id, refund_id = refunded(payments)
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    assert changes(payments) == NOTHING, "it is asked again a day later"
    make_looks_due(payments)
    told = {**NOTHING, "failed_refunds": [{"refund_id": refund_id, "idempotency_key": "refund:1"}]}
    assert changes(payments) == told
    assert changes(payments) == told
    assert changes(payments, refund_id) == NOTHING
    payment = payments.show(authorization_id).json
    assert (payment["status"], payment["refunded_amount_cents"]) == ("CAPTURED", 0)
    assert payment["movements"][-1]["status"] == "FAILED"
    assert over_stripe.money() == Money(captured=1000)
    repeat = payments.refund(authorization_id, "refund:1")
    assert (repeat.status_code, repeat.json["error"]) == (402, "refund_declined")


def test_money_of_a_failed_refund_can_be_refunded_again(payments, over_stripe, double):
    authorization_id, _ = refunded(payments, amount_cents=400)
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    make_looks_due(payments)
    changes(payments)
    assert payments.refund(authorization_id, "refund:2").json["amount_cents"] == 1000
    assert over_stripe.money() == Money(captured=1000, refunded=1000)


def test_refund_that_stands_is_asked_for_on_five_days_of_a_month(payments, double):
    refunded(payments)
    days = []
    while due := payments.sql("SELECT look_at - created_at AS after FROM gateway_refunds WHERE look_at IS NOT NULL"):
        days.append(due[0]["after"].days)
        payments.sql("UPDATE gateway_refunds SET created_at = now() - %s, look_at = now()", due[0]["after"])
        payments.sql("UPDATE payment_refunds SET created_at = now() - %s", due[0]["after"])
        asked = double.operations.count("retrieve_refund")
        assert changes(payments) == NOTHING
        assert double.operations.count("retrieve_refund") == asked + 1
    assert days == [1, 3, 7, 14, 30]


def test_message_that_comes_during_a_look_is_not_forgotten(payments, double):
    _, refund_id = refunded(payments)
    about = message("refund.failed", id=gateway_id(payments, refund_id))

    def fail_and_tell(operation):
        if operation == "retrieve_refund" and not told:
            told.append(heard(payments, **signed(about)))

    told = []
    make_looks_due(payments)
    double.watch = fail_and_tell
    assert changes(payments) == NOTHING
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    assert [each["refund_id"] for each in changes(payments)["failed_refunds"]] == [refund_id]


def test_look_moves_no_money(payments, over_stripe, double):
    """The refund has failed, its id at Stripe is not known, and its key is forgotten."""
    _, refund_id = refunded(payments)
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    double.control("forget_keys")
    payments.sql(
        "UPDATE gateway_refunds SET gateway_id = NULL, created_at = now() - interval '2 days', look_at = now()"
    )
    assert [each["refund_id"] for each in changes(payments)["failed_refunds"]] == [refund_id]
    assert over_stripe.money() == Money(captured=1000)
    assert double.operations.count("refund") == 1


def test_refund_that_stripe_does_not_know_has_not_failed(payments, double):
    refunded(payments)
    payments.sql("UPDATE gateway_refunds SET gateway_id = 're_unknown', look_at = now()")
    assert changes(payments) == NOTHING


def test_pending_refund_is_looked_at_every_day_and_then_on_five_days(payments, double):
    authorization_id, refund_id = refunded(payments, token=cards.PENDING_REFUND, key="refund:p")
    for _ in range(2):
        make_looks_due(payments)
        assert changes(payments)["decided_refunds"] == ["refund:p"]
    double.control("end_refunds", status="succeeded")
    assert payments.refund(authorization_id, "refund:p").json["status"] == "REFUNDED"
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    make_looks_due(payments)
    assert [each["refund_id"] for each in changes(payments)["failed_refunds"]] == [refund_id]


def test_stripe_that_does_not_answer_is_asked_again(payments, double):
    _, refund_id = refunded(payments)
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    make_looks_due(payments)
    double.fault("retrieve_refund", "500")
    assert changes(payments) == NOTHING
    double.control("end_faults")
    make_looks_due(payments)
    assert [each["refund_id"] for each in changes(payments)["failed_refunds"]] == [refund_id]


def test_more_refunds_than_one_call_looks_at(payments, double):
    ids = {refunded(payments, key=f"refund:{n}")[1] for n in range(3)}
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    make_looks_due(payments)
    first, second = changes(payments), changes(payments)
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert {each["refund_id"] for each in second["failed_refunds"]} == ids


def signed(event, secret=SECRET, at=None):
    body = json.dumps(event)
    at = int(at or time.time())
    signature = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return {"data": body, "headers": {"Stripe-Signature": f"t={at},v1={signature}"}}


def message(kind, **about):
    return {"id": "evt_1", "object": "event", "type": kind, "data": {"object": {"object": "refund", **about}}}


def heard(payments, **request):
    response = payments.app.test_client().post("/payments/webhooks/stripe", content_type="application/json", **request)
    return response.status_code, response.json.get("error", response.json.get("is_a_hint"))


def gateway_id(payments, refund_id):
    (asked,) = payments.sql("SELECT gateway_id FROM gateway_refunds WHERE id = %s", refund_id)
    return asked["gateway_id"]


def test_message_about_a_refund_makes_the_look_come_at_once_and_is_not_believed(payments, double):
    _, refund_id = refunded(payments)
    about = message("refund.failed", id=gateway_id(payments, refund_id), status="failed")
    assert heard(payments, **signed(about)) == (200, True)
    assert changes(payments) == NOTHING, "Stripe says that it has succeeded"
    double.control("end_refunds", status="failed", **{"from": "succeeded"})
    for _ in range(2):
        assert heard(payments, **signed(about)) == (200, True)
    assert [each["refund_id"] for each in changes(payments)["failed_refunds"]] == [refund_id]


def test_message_about_a_pending_refund_lets_its_call_be_made_again_at_once(payments):
    _, refund_id = refunded(payments, token=cards.PENDING_REFUND, key="refund:p")
    by_id = message("refund.updated", id=gateway_id(payments, refund_id))
    by_metadata = message("charge.refund.updated", id="re_unknown", metadata={"holdfast_refund": refund_id})
    for about in (by_id, by_metadata):
        assert heard(payments, **signed(about)) == (200, True)
        assert changes(payments) == {**NOTHING, "decided_refunds": ["refund:p"]}
        assert changes(payments) == NOTHING


@pytest.mark.parametrize(
    "about",
    [
        message("payment_intent.succeeded", id="pi_1"),
        message("refund.updated", id="re_unknown"),
        message("refund.updated", id="re_\u0000"),
        message("refund.updated", id=None, metadata={"holdfast_refund": 1}),
        {"type": "refund.failed"},
        [],
    ],
)
def test_other_messages_change_nothing(payments, about):
    assert heard(payments, **signed(about))[0] == 200
    assert changes(payments) == NOTHING


FORGED = {
    "no signature": {"data": json.dumps(message("refund.failed", id="re_1"))},
    "another secret": signed(message("refund.failed", id="re_1"), secret="whsec_of_somebody"),
    "of an hour ago": signed(message("refund.failed", id="re_1"), at=time.time() - 3600),
    "another body": {**signed(message("refund.failed", id="re_1")), "data": b'{"type": "refund.failed"}'},
    "not UTF-8": {**signed(message("refund.failed", id="re_1")), "data": b"\xff\xfe"},
}


@pytest.mark.parametrize("name", FORGED)
def test_message_that_is_not_stripes_is_refused(payments, name):
    assert heard(payments, **FORGED[name]) == (401, "unauthorized")


def test_message_of_more_than_64_kib_is_refused(payments):
    assert heard(payments, **signed(message("refund.failed", id="re_1", text="x" * 65_536))) == (
        413, "payload_too_large"
    )  # fmt: skip


def test_without_the_secret_there_is_no_such_route(over_stripe):
    assert heard(over_stripe.payments, **signed(message("refund.failed", id="re_1")))[0] == 404


def test_hold_that_ends_within_a_day_is_told(payments, double):
    authorization_id = payments.authorized(token=CARD)
    assert changes(payments) == NOTHING
    ends_at = payments.show(authorization_id).json["capture_before"]
    assert ends_at > payments.show(authorization_id).json["created_at"]
    payments.sql("UPDATE payment_authorizations SET capture_before = now() + interval '23 hours'")
    (ending,) = changes(payments)["ending_holds"]
    assert ending["authorization_id"] == authorization_id
    payments.capture(authorization_id)
    assert changes(payments) == NOTHING


def test_simulated_gateway_changes_nothing_by_itself(payments_app, url):
    client = payments_app.test_client()
    assert client.post("/payments/changes", json={}).json == NOTHING
    assert client.post("/payments/webhooks/stripe", **signed(message("refund.failed", id="re_1"))).status_code == 404
