"""What the payments service promises with any gateway behind it. `money` is what the gateway itself says."""

from __future__ import annotations

import pytest

from tests.payments_service.worlds import (
    AFTER,
    BEFORE,
    DELAYS_REFUND,
    GOOD,
    REFUSES_REFUND,
    VERBS,
    Money,
    SimulatedWorld,
)


@pytest.fixture
def simulated(unreliable, chance):
    return SimulatedWorld(unreliable, chance)


@pytest.fixture(params=["simulated", "over_stripe"])
def world(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def payments(world):
    return world.payments


@pytest.fixture
def authorized(world):
    """`authorized()`: a hold of 1000. :returns: its id"""
    return lambda kind=GOOD, key=None: world.payments.authorized(key, token=world.tokens[kind])


@pytest.fixture
def captured(authorized, payments):
    def make(kind=GOOD):
        authorization_id = authorized(kind)
        assert payments.capture(authorization_id).status_code == 200
        return authorization_id

    return make


def said(response):
    """The status and the code of a refusal, or the status of the payment."""
    return response.status_code, response.json.get("error") or response.json["status"]


def test_sale(world, payments, authorized):
    authorization_id = authorized()
    assert world.money() == Money(held=1000)
    assert said(payments.capture(authorization_id)) == (200, "CAPTURED")
    assert world.money() == Money(captured=1000)
    shown = payments.show(authorization_id).json
    assert [each["type"] for each in shown["movements"]] == ["authorize", "capture"]
    assert (shown["status"], shown["captured_amount_cents"]) == ("CAPTURED", 1000)


def test_part_of_a_hold_is_captured_and_the_rest_is_free(world, payments, authorized):
    assert payments.capture(authorized(), amount_cents=300).json["amount_cents"] == 300
    assert world.money() == Money(captured=300)


def test_card_is_declined_with_its_code(world, payments):
    for token, code in world.declines.items():
        for key in (f"{token} 1", f"{token} 1", f"{token} 2"):
            response = payments.authorize(key, token=token)
            assert said(response) == (402, "payment_declined"), token
            assert response.json["details"] == {"decline_code": code, "is_retryable": False}
    assert world.money() == Money()


def test_void_frees_the_hold_once_and_for_all(world, payments, authorized):
    authorization_id = authorized()
    assert said(payments.void(authorization_id, "v")) == (200, "VOIDED")
    assert world.money() == Money()
    assert said(payments.void(authorization_id, "v")) == said(payments.void(authorization_id)) == (200, "VOIDED")
    assert said(payments.capture(authorization_id)) == (409, "already_voided")
    assert said(payments.refund(authorization_id)) == (409, "already_voided")


def test_void_after_a_capture_is_refused_and_the_money_can_be_refunded(world, payments, captured):
    authorization_id = captured()
    assert said(payments.void(authorization_id)) == (409, "already_captured")
    assert said(payments.capture(authorization_id)) == (409, "already_captured")
    assert said(payments.refund(authorization_id)) == (200, "REFUNDED")
    assert world.money() == Money(captured=1000, refunded=1000)


def test_refunds_in_parts_never_exceed_the_capture(world, payments, captured):
    authorization_id = captured()
    assert payments.refund(authorization_id, amount_cents=300).json["amount_cents"] == 300
    assert said(payments.refund(authorization_id, amount_cents=701)) == (400, "validation_error")
    assert payments.refund(authorization_id).json["amount_cents"] == 700
    assert said(payments.refund(authorization_id)) == (409, "invalid_status_transition")
    assert world.money() == Money(captured=1000, refunded=1000)
    assert payments.show(authorization_id).json["status"] == "REFUNDED"


def test_refund_is_refused_for_good(world, payments, captured):
    authorization_id = captured(REFUSES_REFUND)
    for _ in range(2):
        assert said(payments.refund(authorization_id, "r")) == (402, "refund_declined")
    assert world.money() == Money(captured=1000)


def test_refund_is_pending_until_the_gateway_settles_it(world, payments, captured):
    authorization_id = captured(DELAYS_REFUND)
    first = payments.refund(authorization_id, "r", amount_cents=400)
    assert said(first) == (200, "PENDING")
    assert payments.refund(authorization_id, "r", amount_cents=400).json == first.json
    world.settle()
    again = payments.refund(authorization_id, "r", amount_cents=400)
    assert (said(again), again.json["refund_id"]) == ((200, "REFUNDED"), first.json["refund_id"])
    assert world.money() == Money(captured=1000, refunded=400)


def test_repeat_gets_the_first_answer(world, payments, authorized):
    token = world.tokens[GOOD]
    first, again = (payments.authorize("a", token=token) for _ in range(2))
    assert (first.data, again.headers["Idempotency-Replayed"]) == (again.data, "true")
    authorization_id = first.json["authorization_id"]
    for call in (payments.capture, payments.refund):
        first, again = (call(authorization_id, "k", amount_cents=10) for _ in range(2))
        assert (first.data, again.headers["Idempotency-Replayed"]) == (again.data, "true")
        assert said(call(authorization_id, "k", amount_cents=11)) == (422, "idempotency_key_reused")
    assert said(payments.authorize("a", token=token, amount=999)) == (422, "idempotency_key_reused")
    assert world.money() == Money(captured=10, refunded=10)


def test_authorize_that_arrives_after_its_void_is_refused(world, payments):
    for _ in range(2):
        answer = payments.void_by_key("late", "v")
        assert (said(answer), answer.json["authorization_id"]) == ((200, "VOIDED"), None)
    assert said(payments.authorize("late", token=world.tokens[GOOD])) == (409, "already_voided")
    assert world.money() == Money()


def test_void_by_key_frees_what_is_held(world, payments, authorized):
    authorization_id = authorized(key="a")
    answer = payments.void_by_key("a")
    assert (said(answer), answer.json["authorization_id"]) == ((200, "VOIDED"), authorization_id)
    assert world.money() == Money()


def test_void_by_key_of_a_declined_card(world, payments):
    payments.authorize("a", token=next(iter(world.declines)))
    assert payments.void_by_key("a").json["authorization_id"] is None


def test_void_by_key_of_captured_money_is_refused(world, payments, authorized):
    payments.capture(authorized(key="a"))
    assert said(payments.void_by_key("a")) == (409, "already_captured")
    assert world.money() == Money(captured=1000)


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize("verb", VERBS)
def test_lost_answer_is_no_decline_and_the_repeat_moves_the_money_once(
    world, payments, authorized, captured, verb, moment
):
    authorization_id = captured() if verb == "refund" else authorized(key="a") if verb != "authorize" else ""
    call, end = {
        "authorize": (lambda: payments.authorize("a", token=world.tokens[GOOD]), Money(held=1000)),
        "capture": (lambda: payments.capture(authorization_id, "k"), Money(captured=1000)),
        "void": (lambda: payments.void(authorization_id, "k"), Money()),
        "void_by_key": (lambda: payments.void_by_key("a", "k"), Money()),
        "refund": (lambda: payments.refund(authorization_id, "k"), Money(captured=1000, refunded=1000)),
    }[verb]
    before = world.money()
    world.lose(verb, moment)
    for _ in range(2):
        lost = call()
        assert said(lost) == (503, "gateway_error")
        assert int(lost.headers["Retry-After"]) >= 1
        assert world.money() == (before if moment == BEFORE else end)
    world.answer()
    assert call().status_code == 200
    assert world.money() == end
    assert call().headers["Idempotency-Replayed"] == "true"
    assert world.money() == end


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_hold_whose_answer_was_lost_is_found_by_its_key(world, payments, moment):
    world.lose("authorize", moment)
    payments.authorize("a", token=world.tokens[GOOD])
    world.answer()
    assert said(payments.void_by_key("a")) == (200, "VOIDED")
    assert world.money() == Money()
    assert said(payments.authorize("a", token=world.tokens[GOOD])) in ((409, "already_voided"), (200, "AUTHORIZED"))
    assert world.money() == Money(), "the repeat holds nothing"


def test_capture_whose_answer_was_lost_is_found_by_the_void(world, payments, authorized):
    authorization_id = authorized()
    world.lose("capture", AFTER)
    assert payments.capture(authorization_id, "c").status_code == 503
    world.answer()
    assert said(payments.void(authorization_id)) == (409, "already_captured")
    assert said(payments.refund(authorization_id)) == (200, "REFUNDED")
    assert world.money() == Money(captured=1000, refunded=1000)
