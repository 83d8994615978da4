"""What Stripe may do, over the double: each kind of error, forgotten keys, holds that end, and races with a void."""

from __future__ import annotations

import logging
import sys
from functools import partial

import pytest
import requests

from common.calls import client
from common.process.settings import SettingError, Settings
from payments_service import remote
from payments_service.app import create_app
from payments_service.gateways import seam, stripe_api, stripe_lists
from stripe_double import cards
from tests import credentials
from tests.payments_service.stripe_worlds import KEY
from tests.payments_service.worlds import AFTER, Money

CARD = "pm_card_visa"
OPEN_TRANSACTIONS = """SELECT 1 FROM pg_stat_activity
    WHERE application_name = 'payments_service' AND xact_start IS NOT NULL"""


@pytest.fixture
def world(over_stripe):
    return over_stripe


@pytest.fixture
def payments(world):
    return world.payments


@pytest.fixture
def double(world):
    return world.double


@pytest.fixture
def authorized(payments):
    return partial(payments.authorized, token=CARD)


@pytest.fixture
def captured(payments, authorized):
    def make():
        authorization_id = authorized()
        assert payments.capture(authorization_id, amount_cents=1000).status_code == 200
        return authorization_id

    return make


def said(response):
    return response.status_code, response.json.get("error") or response.json["status"]


def decline_of(response):
    assert said(response) == (402, "payment_declined")
    return response.json["details"]["decline_code"]


CALLS = {
    "create": (lambda payments, _: payments.authorize("a", token=CARD), Money(held=1000)),
    "confirm": (lambda payments, _: payments.authorize("a", token=CARD), Money(held=1000)),
    "capture": (lambda payments, id_: payments.capture(id_, "k"), Money(captured=1000)),
    "cancel": (lambda payments, id_: payments.void(id_, "k"), Money()),
    "refund": (lambda payments, id_: payments.refund(id_, "k"), Money(captured=1000, refunded=1000)),
}


@pytest.mark.parametrize("kind", ["429", "409", "500", "401", "403", "unreadable"])
@pytest.mark.parametrize("operation", CALLS)
def test_error_that_is_no_refusal_is_asked_again(payments, world, double, authorized, captured, operation, kind):
    call, end = CALLS[operation]
    before = {"capture": authorized, "cancel": authorized, "refund": captured}
    authorization_id = before[operation]() if operation in before else ""
    double.fault(operation, kind, times=1)
    asked = double.operations.count(operation)
    lost = call(payments, authorization_id)
    assert double.operations.count(operation) == asked + 1, "nobody but the caller asks again"
    assert said(lost) == (503, "gateway_error")
    assert lost.headers["Retry-After"] == ("2" if kind == "429" else "1")
    assert call(payments, authorization_id).status_code == 200
    assert world.money() == end


def test_silent_stripe_is_no_decline(payments, world, double):
    double.fault("create", "silent", times=1)
    assert said(payments.authorize("a", token=CARD)) == (503, "gateway_error")
    assert payments.authorize("a", token=CARD).status_code == 200
    assert world.money() == Money(held=1000)


def test_refused_key_is_an_error_in_the_log_once_and_is_not_shown(payments, double, url, caplog):
    fresh = type(payments)(create_app(stripe_settings(url, STRIPE_API_KEY=KEY, STRIPE_API_BASE=double.url)), url)
    double.fault("create", "401")
    for key in "abc":
        fresh.authorize(key, token=CARD)
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert "status 401" in record.getMessage()
    assert "Check STRIPE_API_KEY" in record.getMessage()
    assert KEY not in caplog.text


def test_tokens_are_neither_logged_nor_stored(payments, caplog):
    caplog.set_level(logging.DEBUG)
    for token in (CARD, "pm_card_nobody_knows", *cards.DECLINED):
        payments.authorize(token=token)
    assert "pm_card" not in caplog.text
    for table in ("gateway_holds", "payment_authorizations", "payment_idempotency_keys"):
        assert payments.sql(f"SELECT 1 FROM {table} t WHERE t::text LIKE '%%pm_card%%'") == []


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "USD", "amount_too_small"),
        (17_499, "HUF", "amount_too_small"),
        (10**8, "USD", "amount_too_large"),
        (1000, "UGX", "currency_not_supported"),
        (10_001, "KWD", "amount_not_supported"),
    ],
)
def test_amount_that_stripe_would_refuse_is_never_sent(payments, double, amount, currency, code):
    body = payments.authorize_body("a", token=CARD, amount=amount) | {"currency": currency}
    for _ in range(2):
        assert decline_of(payments.post("authorize", **body)) == code
    assert double.operations == []


@pytest.mark.parametrize(("amount", "currency"), [(50, "USD"), (99_999_999, "USD"), (50, "JPY"), (30, "GBP")])
def test_smallest_and_largest_amounts_are_held(payments, world, amount, currency):
    body = payments.authorize_body(token=CARD, amount=amount) | {"currency": currency}
    assert payments.post("authorize", **body).status_code == 200
    assert world.money() == Money(held=amount)


def test_currency_that_stripe_does_not_know_is_a_decline(payments):
    body = payments.authorize_body(token=CARD) | {"currency": "LYD"}
    assert decline_of(payments.post("authorize", **body)) == "currency_not_supported"


def test_hold_names_the_order(payments, double):
    payments.authorize("authorize:1234", token=CARD)
    (listed,) = requests.get(
        f"{double.url}/v1/payment_intents", headers={"Authorization": f"Bearer {KEY}"}, timeout=30
    ).json()["data"]
    assert listed["metadata"]["holdfast_key"] == "authorize:1234"


@pytest.mark.parametrize("verb", ["authorize", "capture", "refund"])
def test_money_moves_once_although_stripe_forgets_the_key(payments, world, double, authorized, captured, verb):
    operation = "confirm" if verb == "authorize" else verb
    call, end = CALLS[operation]
    authorization_id = captured() if verb == "refund" else authorized() if verb == "capture" else ""
    world.lose(verb, AFTER)
    assert call(payments, authorization_id).status_code == 503
    world.answer()
    double.control("forget_keys")
    payments.sql("UPDATE gateway_refunds SET created_at = now() - interval '1 day'")
    assert call(payments, authorization_id).status_code == 200
    assert world.money() == end


def test_part_of_the_money_is_refunded_once_although_stripe_forgets_the_key(payments, world, double, captured):
    authorization_id = captured()
    world.lose("refund", AFTER)
    refund = partial(payments.refund, authorization_id, "r", amount_cents=400)
    assert refund().status_code == 503
    world.answer()
    double.control("forget_keys")
    payments.sql("UPDATE gateway_refunds SET created_at = now() - interval '1 day'")
    assert refund().status_code == 200
    assert world.money() == Money(captured=1000, refunded=400)


def test_refund_is_found_behind_newer_ones_on_a_later_page(payments, world, double, captured, monkeypatch):
    monkeypatch.setattr(stripe_lists, "PAGE", 1)
    authorization_id = captured()
    world.lose("refund", AFTER)
    assert payments.refund(authorization_id, "r", amount_cents=400).status_code == 503
    world.answer()
    for key in "st":
        assert payments.refund(authorization_id, key, amount_cents=100).status_code == 200
    double.control("forget_keys")
    payments.sql("UPDATE gateway_refunds SET created_at = now() - interval '1 day'")
    asked = len(double.operations)
    assert payments.refund(authorization_id, "r", amount_cents=400).status_code == 200
    assert double.operations[asked:] == ["list_refunds"] * 3
    assert world.money() == Money(captured=1000, refunded=600)


def test_hold_that_ended_by_itself_is_a_clear_refusal(payments, world, double, authorized):
    authorization_id = authorized()
    double.control("advance", seconds=8 * 86_400)
    assert decline_of(payments.capture(authorization_id)) == "hold_expired"
    assert said(payments.void(authorization_id)) == (200, "VOIDED")
    assert world.money() == Money()


def test_pending_refund_that_fails_is_refused(payments, world, double):
    authorization_id = payments.authorized(token=cards.PENDING_REFUND)
    payments.capture(authorization_id)
    assert said(payments.refund(authorization_id, "r")) == (200, "PENDING")
    double.control("end_refunds", status="failed")
    for _ in range(2):
        assert said(payments.refund(authorization_id, "r")) == (402, "refund_declined")
    assert world.money() == Money(captured=1000)
    assert payments.show(authorization_id).json["refunded_amount_cents"] == 0


def test_customer_who_is_asked_can_no_longer_pay_for_a_declined_order(payments, world, double):
    """The answer to the confirm is lost, and the PaymentIntent waits for the customer."""
    double.watch = lambda operation: operation == "create" and requests.post(
        f"{double.url}/v1/payment_intents/{latest(double)}/confirm",
        data={"payment_method": cards.ASKS_THE_CUSTOMER}, headers={"Authorization": f"Bearer {KEY}"}, timeout=30,
    )  # fmt: skip
    assert decline_of(payments.authorize(token=CARD)) == "authentication_required"
    assert double.operations[-1] == "cancel"


def latest(double):
    listed = requests.get(f"{double.url}/v1/payment_intents", headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    return listed.json()["data"][0]["id"]


@pytest.mark.parametrize("moment", ["create", "confirm"])
def test_void_by_key_wins_against_an_authorize_in_flight(payments, world, double, moment):
    voids = []

    def void(operation):
        if operation == moment:
            voids.append(said(payments.void_by_key("a", "v")))

    double.watch = void
    assert said(payments.authorize("a", token=CARD)) == (409, "already_voided")
    assert voids == [(200, "VOIDED")]
    assert world.money() == Money()
    assert double.operations.count("confirm") == (moment == "confirm"), "no confirm leaves after the void"


def test_no_transaction_is_open_while_stripe_is_asked(payments, double, authorized):
    seen = []
    double.watch = lambda operation: seen.append((operation, payments.sql(OPEN_TRANSACTIONS)))
    authorization_id = authorized()
    payments.capture(authorization_id)
    payments.refund(authorization_id)
    payments.void(authorized())
    assert seen == [(each, []) for each in ("create", "confirm", "capture", "refund", "create", "confirm", "cancel")]


def test_what_is_asked_is_in_the_books_before(payments, double, captured):
    books = []
    double.watch = lambda operation: books.append(
        (operation, payments.sql("SELECT gateway_id IS NOT NULL AS is_known FROM gateway_holds"))
    )
    payments.authorize("a", token=CARD)
    assert books == [("create", [{"is_known": False}]), ("confirm", [{"is_known": True}])]
    double.watch = lambda _: books.append(payments.sql("SELECT amount_cents FROM gateway_refunds"))
    payments.refund(captured(), amount_cents=7)
    assert books[-1] == [{"amount_cents": 7}]


def test_simultaneous_repeats_hold_once(payments, world, at_once):
    for key in ("a", "b"):
        responses = at_once(*[partial(payments.authorize, key, token=CARD)] * 6)
        assert {said(each) for each in responses} == {(200, "AUTHORIZED")}
        assert len({each.data for each in responses}) == 1
    assert world.money() == Money(held=2000)


@pytest.mark.parametrize("verb", ["authorize", "capture", "refund"])
def test_repeat_answered_while_we_look_has_the_same_answer(payments, authorized, captured, at_once, monkeypatch, verb):
    id_ = {"capture": authorized, "refund": captured}.get(verb, lambda: None)()
    calls = {
        "authorize": lambda: payments.authorize("a", token=CARD),
        "capture": lambda: payments.capture(id_, "c"),
        "refund": lambda: payments.refund(id_, "r"),
    }
    first = []

    def looked_too_early(*args):
        answer = look(*args)
        if not first:
            first.append(None)
            first[:] = at_once(calls[verb])
        return answer

    look = remote.stored
    monkeypatch.setattr(remote, "stored", looked_too_early)
    repeated = calls[verb]()
    assert first[0].status_code == 200
    assert (repeated.status_code, repeated.data) == (200, first[0].data)


def test_payment_of_another_gateway_is_left_alone(payments, world, payments_app, authorized):
    simulated = type(payments)(payments_app, payments.url)
    simulated.new_key = payments.new_key
    others = ((simulated, authorized()), (payments, simulated.authorized()))
    for service, authorization_id in others:
        for call in (service.capture, service.void):
            refused = call(authorization_id)
            assert said(refused) == (503, "gateway_error")
            assert "PAYMENT_GATEWAY" in refused.json["message"]
    assert world.money() == Money(held=1000)


def test_requests_of_an_authorize_fit_into_the_time_of_its_caller():
    assert sum(stripe_api.QUICK_S) + sum(stripe_api.BANK_S) < seam.ANSWER_WITHIN_S < client.READ_TIMEOUT_S


CALLS_THAT_ASK_MORE = {
    "create, confirm": (lambda payments, _: payments.authorize("a", token=CARD), ["create", "confirm"]),
    "capture": (lambda payments, id_: payments.capture(id_, "k"), ["capture"]),
    "cancel": (lambda payments, id_: payments.void(id_, "k"), ["cancel"]),
    "cancel by key": (lambda payments, _: payments.void_by_key("authorized", "k"), ["cancel"]),
    "refund": (lambda payments, id_: payments.refund(id_, "k"), ["refund"]),
}


@pytest.mark.parametrize("name", CALLS_THAT_ASK_MORE)
def test_request_whose_answer_could_come_too_late_is_not_sent(payments, world, double, monkeypatch, name):
    """Before each request of a call, the time for it is over once."""
    call, requests_ = CALLS_THAT_ASK_MORE[name]
    authorization_id = payments.authorized(key="authorized", token=CARD)
    if name == "refund":
        payments.capture(authorization_id)
    asked = len(double.operations)
    for number in range(len(requests_)):
        left = iter([True] * number + [False])
        with monkeypatch.context() as late:
            late.setattr(stripe_api, "is_time_for", lambda _, left=left: next(left))
            assert said(call(payments, authorization_id)) == (503, "gateway_error")
    assert double.operations[asked:] == requests_[:1] * (len(requests_) - 1)
    assert call(payments, authorization_id).status_code == 200


@pytest.mark.parametrize("name", CALLS_THAT_ASK_MORE)
def test_time_of_each_call_is_limited(payments, double, monkeypatch, name):
    call, _ = CALLS_THAT_ASK_MORE[name]
    authorization_id = payments.authorized(key="authorized", token=CARD)
    if name == "refund":
        payments.capture(authorization_id)
    is_unlimited = []
    monkeypatch.setattr(
        stripe_api, "is_time_for", lambda _: is_unlimited.append(seam.is_time_for(seam.ANSWER_WITHIN_S + 1)) or True
    )
    assert call(payments, authorization_id).status_code == 200
    assert is_unlimited
    assert not any(is_unlimited)


def test_time_of_a_call_ends_with_it():
    with seam.within(5):
        assert seam.is_time_for(4)
        assert not seam.is_time_for(6)
        with seam.within(1):
            assert not seam.is_time_for(4)
        assert seam.is_time_for(4)
    assert seam.is_time_for(10_000)


def test_hold_whose_cancel_could_come_too_late_is_declined_later(payments, world, double, monkeypatch):
    """The bank asks the customer, and creating and confirming have taken all the time."""
    double.watch = lambda operation: operation == "create" and requests.post(
        f"{double.url}/v1/payment_intents/{latest(double)}/confirm",
        data={"payment_method": cards.ASKS_THE_CUSTOMER}, headers={"Authorization": f"Bearer {KEY}"}, timeout=30,
    )  # fmt: skip
    left = iter([True, True, True, False])  # create, confirm, read
    with monkeypatch.context() as late:
        late.setattr(stripe_api, "is_time_for", lambda _: next(left))
        assert said(payments.authorize("a", token=CARD)) == (503, "gateway_error")
    assert decline_of(payments.authorize("a", token=CARD)) == "authentication_required"
    assert world.money() == Money()


@pytest.mark.parametrize(("kind", "code"), [("wrong", "parameter_unknown"), ("balance", "balance_insufficient")])
def test_refund_that_stripe_finds_wrong_is_asked_again(payments, world, double, captured, caplog, kind, code):
    """It is our mistake, or passes: the money is still owed."""
    authorization_id = captured()
    double.fault("refund", kind, times=1)
    assert said(payments.refund(authorization_id, "r")) == (503, "gateway_error")
    assert f"the gateway gave no answer: {code}" in caplog.text
    assert said(payments.refund(authorization_id, "r")) == (200, "REFUNDED")
    assert world.money() == Money(captured=1000, refunded=1000)


def stripe_settings(url, **more):
    usual = {"DATABASE_URL": url, "PAYMENT_GATEWAY": "stripe", **credentials.SETTINGS}
    return Settings.load({**usual, **more}, "payments_service")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "STRIPE_API_KEY is not set"),
        ({"STRIPE_API_KEY": "sk_live_1"}, "STRIPE_API_KEY is a live key"),
        ({"STRIPE_API_KEY": "rk_live_1", "APP_ENV": "staging"}, "STRIPE_API_KEY is a live key"),
        ({"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": "http://stripe.example"}, "STRIPE_API_BASE must be an https://"),
        (
            {"STRIPE_API_KEY": "sk_live_1", "STRIPE_LIVE_KEY": "allow", "STRIPE_API_BASE": "http://127.0.0.1"},
            "STRIPE_API_BASE must be an https://",
        ),
    ],
)
def test_setting_that_would_move_money_by_mistake_stops_the_start(url, more, message):
    with pytest.raises(SettingError, match=f"^{message}") as caught:
        stripe_settings(url, **more)
    assert "live_1" not in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        {"STRIPE_API_KEY": "sk_test_1"},
        {"STRIPE_API_KEY": "sk_live_1", "STRIPE_LIVE_KEY": "allow"},
        {"STRIPE_API_KEY": "rk_test_1", "STRIPE_API_BASE": "http://127.0.0.1:12111"},
    ],
)
def test_other_settings_are_accepted(url, more):
    assert stripe_settings(url, **more).payment_gateway == "stripe"


def test_live_key_is_accepted_in_production():
    environ = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": "sk_live_1", "APP_ENV": "production"}
    local = {"DATABASE_URL": "postgresql://holdfast@/holdfast", **credentials.SETTINGS}
    assert Settings.load({**local, **environ}, "payments_service").stripe_api_key == "sk_live_1"


def test_stripe_has_no_simulated_settling(payments):
    assert payments.app.test_client().post("/payments/simulate/settle_refunds").status_code == 404


def test_missing_library_is_said_in_one_sentence(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "payments_service.gateways.stripe_api", None)
    with pytest.raises(SettingError, match="its library is not installed: pip install"):
        create_app(stripe_settings(url, STRIPE_API_KEY=KEY))
