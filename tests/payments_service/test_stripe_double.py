"""The double behaves as Stripe documents it, as the official library sees it. The answers' form is checked too."""

from __future__ import annotations

import pytest
import stripe
from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    RefundCreateParams,
    RefundListParams,
)

from stripe_double import cards
from stripe_double.payments import PARAMS
from tests.payments_service.stripe_worlds import KEY

NEW = {"amount": 1000, "currency": "usd", "capture_method": "manual"}
OF_LIBRARY = {
    "create": PaymentIntentCreateParams,
    "confirm": PaymentIntentConfirmParams,
    "capture": PaymentIntentCaptureParams,
    "cancel": PaymentIntentCancelParams,
    "refund": RefundCreateParams,
    "retrieve": PaymentIntentRetrieveParams,
    "list": PaymentIntentListParams,
    "list_refunds": RefundListParams,
}


@pytest.fixture
def double(stripe_double):
    stripe_double.clear()
    yield stripe_double
    assert stripe_double.wrong == []


@pytest.fixture
def api(double):
    return stripe.StripeClient(KEY, base_addresses={"api": double.url}, max_network_retries=0).v1


@pytest.fixture
def held(api):
    def make(card="pm_card_visa"):
        intent = api.payment_intents.create(NEW)
        return api.payment_intents.confirm(intent.id, {"payment_method": card}).id

    return make


@pytest.mark.parametrize("operation", OF_LIBRARY)
def test_double_takes_no_parameter_that_stripe_does_not_know(operation):
    assert PARAMS[operation] <= set(OF_LIBRARY[operation].__annotations__)


def test_unknown_parameter_is_refused(api):
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: colour"):
        api.payment_intents.create({**NEW, "colour": "red"})


def test_key_repeats_its_first_answer_for_a_day(api, double):
    key = {"idempotency_key": "k"}
    first = api.payment_intents.create(NEW, key).id
    assert api.payment_intents.create(NEW, key).id == first
    with pytest.raises(stripe.IdempotencyError):
        api.payment_intents.create({**NEW, "amount": 1001}, key)
    double.control("advance", seconds=24 * 3600 + 1)
    assert api.payment_intents.create(NEW, key).id != first


def test_key_repeats_a_refusal_too(api, held, double):
    id_, key = held(), {"idempotency_key": "k"}
    with pytest.raises(stripe.InvalidRequestError):
        api.refunds.create({"payment_intent": id_}, key)
    api.payment_intents.capture(id_)
    with pytest.raises(stripe.InvalidRequestError):
        api.refunds.create({"payment_intent": id_}, key)
    double.control("forget_keys")
    assert api.refunds.create({"payment_intent": id_}, key).amount == 1000


def test_states_refuse_what_does_not_fit(api, held):
    id_ = held()
    api.payment_intents.cancel(id_)
    for call in (api.payment_intents.cancel, api.payment_intents.capture):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            call(id_)
        assert caught.value.code == "payment_intent_unexpected_state"


def test_hold_ends_by_itself_after_seven_days(api, held, double):
    id_ = held()
    double.control("advance", seconds=7 * 86_400)
    ended = api.payment_intents.retrieve(id_)
    assert (ended.status, ended.cancellation_reason) == ("canceled", "automatic")


def test_charge_in_the_place_of_its_id_says_until_when_the_money_is_held(api, double):
    expand = {"expand": ["latest_charge"]}
    intent = api.payment_intents.create(NEW)
    assert api.payment_intents.retrieve(intent.id, expand).latest_charge is None
    confirmed = api.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa", **expand})
    charge = confirmed.latest_charge
    assert charge.payment_method_details.card.capture_before == charge.created + 7 * 86_400
    assert api.payment_intents.retrieve(intent.id).latest_charge == charge.id
    api.payment_intents.capture(intent.id)
    captured = api.payment_intents.retrieve(intent.id, expand).latest_charge
    assert captured.amount_captured == 1000
    assert not hasattr(captured.payment_method_details.card, "capture_before")
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        api.payment_intents.retrieve(intent.id, {"expand": ["customer"]})


def test_refund_that_succeeded_can_fail_later(api, held, double):
    id_ = held()
    api.payment_intents.capture(id_)
    refund = api.refunds.create({"payment_intent": id_, "amount": 400})
    double.control("end_refunds", status="failed")
    assert api.refunds.retrieve(refund.id).status == "succeeded"
    double.control("end_refunds", **{"from": "succeeded", "status": "failed"})
    failed = api.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "unknown")
    assert failed.failure_balance_transaction
    assert double.control("look")["refunded"] == 0
    assert api.refunds.create({"payment_intent": id_}).amount == 1000, "the money can be refunded again"


def test_payment_that_refuses_its_refunds_takes_them_when_it_is_allowed(api, held, double):
    id_, key = held(cards.REFUSES_REFUND), {"idempotency_key": "k"}
    api.payment_intents.capture(id_)
    with pytest.raises(stripe.InvalidRequestError):
        api.refunds.create({"payment_intent": id_}, key)
    double.control("allow_refunds", payment_intent=id_)
    assert api.refunds.create({"payment_intent": id_}, key).status == "succeeded"


def test_lists_have_pages(api, held):
    ids = [held() for _ in range(5)]
    listed = api.payment_intents.list({"limit": 2}).auto_paging_iter()
    assert [each.id for each in listed] == ids[::-1]
    assert api.payment_intents.list({"created": {"gte": 2**40}}).data == []


def test_lists_are_of_a_span(api, held, double):
    old = held()
    api.payment_intents.capture(old)
    refund = api.refunds.create({"payment_intent": old})
    double.control("advance", seconds=3600)
    new = held()
    created = api.payment_intents.retrieve(new).created
    for span, found in (({"gte": created}, [new]), ({"lt": created}, [old]), ({"lt": created + 1}, [new, old])):
        assert [each.id for each in api.payment_intents.list({"created": span}).data] == found
    assert [each.id for each in api.refunds.list({"created": {"lt": created}}).data] == [refund.id]
    assert api.refunds.list({"created": {"gte": created}}).data == []


def test_refunds_never_exceed_the_capture(api, held):
    id_ = held()
    api.payment_intents.capture(id_, {"amount_to_capture": 600})
    api.refunds.create({"payment_intent": id_, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        api.refunds.create({"payment_intent": id_, "amount": 201})
    assert api.refunds.create({"payment_intent": id_}).amount == 200
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.refunds.create({"payment_intent": id_})
    assert caught.value.code == "charge_already_refunded"
    assert len(api.refunds.list({"payment_intent": id_}).data) == 2


def test_live_keys_are_refused(double):
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("sk_live_1", base_addresses={"api": double.url}).v1.payment_intents.create(NEW)
