"""The simulated gateway's latency and failures."""

from __future__ import annotations

import random

import pytest

from common.process.settings import SettingError
from payments_service.app import create_app
from payments_service.errors import GatewayError
from payments_service.gateways.simulated import SimulatedGateway

LOSE_REQUEST, LOSE_ANSWER, WORK = 0.1, 0.4, 0.9  # draws, for a failure rate of one half

# Each call that moves money: its preparation, the call, and the resulting statuses.
CALLS = {
    "authorize": (lambda p: "", lambda p, _: p.authorize("k"), "AUTHORIZED"),
    "capture": (lambda p: p.authorized("k"), lambda p, id_: p.capture(id_, "c"), "CAPTURED"),
    "void": (lambda p: p.authorized("k"), lambda p, id_: p.void(id_, "v"), "VOIDED"),
    "void_by_key": (lambda p: p.authorized("k"), lambda p, _: p.void_by_key("k", "v"), "VOIDED"),
    "tombstone": (lambda p: "", lambda p, _: p.void_by_key("k", "v"), "VOIDED"),
    "refund": (lambda p: p.captured(), lambda p, id_: p.refund(id_, "r"), "REFUNDED"),
}


def statuses(payments):
    return [row["status"] for row in payments.sql("SELECT status FROM payment_authorizations")]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("draw", [LOSE_REQUEST, LOSE_ANSWER])
def test_simulated_failure_happens_before_or_after_the_effect(unreliable, chance, name, draw):
    prepare, call, reaches = CALLS[name]
    authorization_id = prepare(unreliable)
    before = statuses(unreliable)
    chance.draw = draw
    for _ in range(2):
        lost = call(unreliable, authorization_id)
        assert (lost.status_code, lost.json["error"], lost.headers["Retry-After"]) == (503, "gateway_error", "1")
        assert statuses(unreliable) == ([reaches] if draw == LOSE_ANSWER else before)
    chance.draw = WORK
    again = call(unreliable, authorization_id)
    assert again.status_code == 200
    assert ("Idempotency-Replayed" in again.headers) == (draw == LOSE_ANSWER)
    assert statuses(unreliable) == [reaches]


def test_a_refusal_can_be_lost_too(unreliable, chance):
    chance.draw = LOSE_ANSWER
    assert unreliable.authorize("k", token="decline_expired").status_code == 503
    assert unreliable.capture("auth_" + "x" * 24).status_code == 503
    assert statuses(unreliable) == ["DECLINED"]
    chance.draw = WORK
    assert unreliable.authorize("k", token="decline_expired").headers["Idempotency-Replayed"] == "true"


def test_invalid_request_never_reaches_the_gateway(unreliable, chance):
    chance.draw = LOSE_REQUEST
    assert unreliable.authorize(amount=0).status_code == 400


def test_reading_does_not_fail(unreliable, chance):
    authorization_id = unreliable.authorized()
    chance.draw = LOSE_REQUEST
    assert unreliable.show(authorization_id).status_code == 200


def effects(failure_rate, calls=2000):
    """Return how many calls were answered, and how many took effect."""
    gateway = SimulatedGateway(0, failure_rate, chance=random.Random(20261122))
    answered, done = 0, []
    for _ in range(calls):
        try:
            gateway.call(lambda: done.append(1))
            answered += 1
        except GatewayError:
            pass
    return answered, len(done)


def test_failure_rate_is_the_share_of_failures():
    assert effects(0) == (2000, 2000)
    answered, done = effects(1)
    assert answered == 0
    assert done == pytest.approx(1000, abs=100)
    answered, done = effects(0.3)
    assert answered == pytest.approx(1400, abs=100)
    assert done == pytest.approx(1700, abs=100)


def test_the_settings_reach_the_gateway(settings):
    app = create_app(settings(MOCK_FAILURE_RATE="1"))
    response = app.test_client().post("/payments/void", json={"authorization_key": "a", "idempotency_key": "b"})
    assert (response.status_code, response.json["error"]) == (503, "gateway_error")


def test_latency_is_slept_in_calls_that_move_money_outside_any_transaction(payments, payments_settings):
    slept = []

    def sleep(seconds):
        busy = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'payments_service' AND xact_start IS NOT NULL"
        slept.append((seconds, payments.sql(busy)))

    slow = type(payments)(create_app(payments_settings, SimulatedGateway(0.25, 0, sleep=sleep)), payments.url)
    authorization_id = slow.captured()
    slow.refund(authorization_id)
    slow.void(authorization_id)
    slow.void_by_key("a")
    assert slept == [(0.25, [])] * 5
    slow.show(authorization_id)
    slow.app.test_client().get("/health")
    assert len(slept) == 5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *(
            ("MOCK_FAILURE_RATE", value, "MOCK_FAILURE_RATE must be a number from 0 to 1")
            for value in ("1.01", "-0.1", "nan", "inf", "half", "30%")
        ),
        *(
            ("MOCK_LATENCY_MS", value, "MOCK_LATENCY_MS must be a whole number from 0 to 60000")
            for value in ("-1", "1.5", "60001", "fast", "1e3")
        ),
    ],
)
def test_a_bad_setting_stops_the_start(monkeypatch, url, name, value, message):
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as caught:
        create_app()
    assert str(caught.value) == message
