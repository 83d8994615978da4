"""What the gateway's own books say, as an operator's command reads it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from payments_service.gateways import stripe_lists
from stripe_double import cards

CARD = "pm_card_visa"
FROM, BEFORE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


def ask(payments, path, **query):
    return payments.app.test_client().get(f"/payments/gateway/{path}", query_string=query)


def listed(payments, name, **more):
    response = ask(payments, name, created_from=FROM, created_before=BEFORE, **more)
    assert response.status_code == 200
    return response.json[name], response.json["next_cursor"]


@pytest.fixture
def payments(over_stripe):
    return over_stripe.payments


@pytest.fixture
def double(over_stripe):
    return over_stripe.double


def test_states_of_payments(payments, double):
    held, voided, captured = (payments.authorized(token=CARD) for _ in range(3))
    payments.void(voided)
    payments.capture(captured, amount_cents=600)
    payments.authorize(token="pm_card_visa_chargeDeclined")
    lines, cursor = listed(payments, "payments")
    assert cursor is None
    assert [
        (each["authorization_id"], each["state"], each["held_cents"], each["captured_cents"], each["currency"])
        for each in lines[1:]
    ] == [
        (captured, "captured", 0, 600, "USD"),
        (voided, "ended", 0, 0, "USD"),
        (held, "held", 1000, 0, "USD"),
    ]
    assert (lines[0]["state"], lines[0]["held_cents"]) == ("open", 0)
    now = datetime.now(UTC)
    assert all(abs((now - datetime.fromisoformat(each["created_at"])).total_seconds()) < 600 for each in lines)


@pytest.mark.parametrize(
    ("token", "ended", "state"),
    [(CARD, "", "returned"), (cards.PENDING_REFUND, "", "pending"), (cards.PENDING_REFUND, "failed", "failed")],
)
def test_states_of_refunds(payments, double, token, ended, state):
    authorization_id = payments.authorized(token=token)
    payments.capture(authorization_id)
    payments.refund(authorization_id, amount_cents=300)
    if ended:
        double.control("end_refunds", status=ended)
    ((line,), _) = listed(payments, "refunds")
    (asked,) = payments.sql("SELECT id FROM gateway_refunds")
    (hold,) = payments.sql("SELECT gateway_id FROM gateway_holds")
    assert (line["state"], line["amount_cents"], line["currency"]) == (state, 300, "USD")
    assert (line["refund_id"], line["payment_gateway_id"]) == (asked["id"], hold["gateway_id"])
    found = ask(payments, "payment", gateway_id=hold["gateway_id"]).json
    assert (found["payment"]["captured_cents"], found["refunds"]) == (1000, [line])


def test_pages_have_each_line_once(payments, monkeypatch):
    monkeypatch.setattr(stripe_lists, "PAGE", 2)
    ids = [payments.authorized(token=CARD) for _ in range(5)]
    found, cursor, pages = [], None, 0
    while cursor or not pages:
        lines, cursor = listed(payments, "payments", **({"cursor": cursor} if cursor else {}))
        found += [each["authorization_id"] for each in lines]
        pages += 1
    assert (found, pages) == (ids[::-1], 3)


@pytest.mark.parametrize("name", ["payments", "refunds"])
def test_span_is_of_the_time_of_the_gateway(payments, double, name):
    double.control("advance", seconds=-86_400)
    authorization_id = payments.authorized(token=CARD)
    payments.capture(authorization_id)
    payments.refund(authorization_id)
    ((line,), _) = listed(payments, name)
    at = line["created_at"].replace(".000000", "")
    later = datetime.fromisoformat(at).timestamp() + 1
    after = datetime.fromtimestamp(later, UTC).isoformat().replace("+00:00", "Z")
    assert ask(payments, name, created_from=at, created_before=after).json[name] == [line]
    assert ask(payments, name, created_from=after, created_before=BEFORE).json[name] == []
    assert ask(payments, name, created_from=FROM, created_before=at).json[name] == []


def test_payment_that_the_gateway_does_not_know(payments):
    assert ask(payments, "payment", gateway_id="pi_nobody").json == {
        "gateway": "stripe", "payment": None, "refunds": []
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["429", "409", "500", "401", "403", "unreadable", "lost_before", "lost_after"])
@pytest.mark.parametrize("operation", ["list", "list_refunds", "retrieve"])
def test_list_without_an_answer_is_no_empty_list(payments, double, operation, kind):
    payments.authorize("a", token=CARD)
    (hold,) = payments.sql("SELECT gateway_id FROM gateway_holds")
    span = {"created_from": FROM, "created_before": BEFORE}
    path, query = {
        "list": ("payments", span),
        "list_refunds": ("refunds", span),
        "retrieve": ("payment", {"gateway_id": hold["gateway_id"]}),
    }[operation]
    double.fault(operation, kind, times=1)
    lost = ask(payments, path, **query)
    assert (lost.status_code, lost.json["error"]) == (503, "gateway_error")
    assert ask(payments, path, **query).status_code == 200


def test_payment_whose_refunds_are_unknown_has_no_answer(payments, double):
    payments.authorize("a", token=CARD)
    (hold,) = payments.sql("SELECT gateway_id FROM gateway_holds")
    double.fault("list_refunds", "500", times=1)
    assert ask(payments, "payment", gateway_id=hold["gateway_id"]).status_code == 503


def test_simulated_gateway_has_no_lists(payments_app, url):
    simulated = payments_app.test_client()
    for name in ("payments", "refunds"):
        query = {"created_from": FROM, "created_before": BEFORE}
        assert simulated.get(f"/payments/gateway/{name}", query_string=query).json == {
            "gateway": "simulated", name: [], "next_cursor": None
        }  # fmt: skip
    found = simulated.get("/payments/gateway/payment", query_string={"gateway_id": "pi_1"}).json
    assert found == {"gateway": "simulated", "payment": None, "refunds": []}
