"""The double sends events as Stripe does: signed, until they are accepted, also doubled and out of order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

from stripe_double import cards
from tests.payments_service.stripe_worlds import KEY, Double, violations
from tests.waiting import eventually

SECRET = "whsec_test"
NEW = {"amount": 1000, "currency": "usd", "capture_method": "manual"}
HELD, SOLD, ENDED = "payment_intent.amount_capturable_updated", "payment_intent.succeeded", "payment_intent.canceled"


class Receiver(ThreadingHTTPServer):
    """Answers each webhook with the next of `answers`, and with 200 when there is none left."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.received: list[tuple[bytes, str]] = []
        """Bodies and signatures."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/payments/webhooks/stripe"

    def events(self, number: int) -> list[stripe.Event]:
        """Wait for this many. :raises: one is not as Stripe signs and describes it"""
        eventually(lambda: len(self.received) >= number)
        found = [stripe.Webhook.construct_event(body, header, SECRET) for body, header in self.received]
        for event in map(stripe.Event.to_dict, found):
            assert violations(event) + violations(event["data"]["object"]) == []
        return found

    def types(self, number: int) -> list[str]:
        return [event.type for event in self.events(number)]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        self.end_headers()
        self.server.received.append((body, self.headers["Stripe-Signature"]))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def double(stripe_double: Double, receiver: Receiver) -> Iterator[Double]:
    stripe_double.clear()
    stripe_double.control("webhook", url=receiver.url, secret=SECRET)
    yield stripe_double
    assert stripe_double.wrong == []
    stripe_double.control("webhook", url="", secret="")


@pytest.fixture
def api(double):
    return stripe.StripeClient(KEY, base_addresses={"api": double.url}, max_network_retries=0).v1


@pytest.fixture
def held(api):
    def make(card="pm_card_visa"):
        intent = api.payment_intents.create(NEW)
        return api.payment_intents.confirm(intent.id, {"payment_method": card}).id

    return make


def test_event_is_verified_by_the_official_library(api, receiver):
    intent = api.payment_intents.create(NEW)
    api.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": "k"})
    (event,) = receiver.events(1)
    assert (event.type, event.data.object.id, event.data.object.amount_capturable) == (HELD, intent.id, 1000)
    assert event.request.idempotency_key == "k"
    ((body, header),) = receiver.received
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, "whsec_another")


def test_each_change_has_its_event(api, held, receiver):
    api.payment_intents.capture(held())
    assert receiver.types(2) == [HELD, SOLD]
    api.payment_intents.cancel(held())
    assert receiver.types(4)[2:] == [HELD, ENDED]
    with pytest.raises(stripe.CardError):
        held("pm_card_chargeDeclinedExpiredCard")
    declined = receiver.events(5)[4]
    assert declined.type == "payment_intent.payment_failed"
    assert declined.data.object.last_payment_error.code == "expired_card"


def test_refund_has_an_event_for_each_of_its_states(api, held, double, receiver):
    id_ = held(cards.PENDING_REFUND)
    api.payment_intents.capture(id_)
    api.refunds.create({"payment_intent": id_})
    assert receiver.types(3)[2:] == ["refund.created"]
    double.control("end_refunds", status="succeeded")
    assert receiver.events(4)[3].data.object.status == "succeeded"
    double.control("end_refunds", **{"from": "succeeded", "status": "failed"})
    assert receiver.types(6)[3:] == ["refund.updated", "refund.updated", "refund.failed"]


def test_hold_that_ends_by_itself_has_an_event(held, double, receiver):
    held()
    double.control("advance", seconds=7 * 86_400)
    ended = receiver.events(2)[1]
    assert (ended.type, ended.data.object.cancellation_reason) == (ENDED, "automatic")


def test_event_is_sent_again_until_it_is_accepted(held, receiver):
    receiver.answers = [500, 302, 404]
    held()
    assert receiver.types(4) == [HELD] * 4
    assert len({body for body, _ in receiver.received}) == 1


def test_events_are_doubled_held_back_and_sent_in_the_wrong_order(api, held, double, receiver):
    double.control("webhooks", double=True, reorder=True, hold=True)
    api.payment_intents.capture(held())
    assert receiver.received == []
    double.control("send_webhooks")
    assert receiver.types(4) == [SOLD, SOLD, HELD, HELD]
    assert len({event.id for event in receiver.events(4)}) == 2


def test_without_an_endpoint_nothing_is_sent(held, double, receiver):
    double.control("webhooks", hold=True)
    held()
    double.control("webhook", url="", secret="")
    held()
    double.control("webhooks")
    double.control("webhook", url=receiver.url, secret=SECRET)
    last = held()
    assert [event.data.object.id for event in receiver.events(1)] == [last]
