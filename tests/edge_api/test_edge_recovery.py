"""Requests that a repeat takes over, or that the sweeper closes while they run."""

from __future__ import annotations

from contextlib import closing

import pytest

from common.database.database import Database
from edge_api.notifier import Notifier
from edge_api.store import Store
from tests.edge_api.neighbours import Held, answer_lost, request_lost

EFFECTS = ("order_ledger", "outbox", "payment_authorizations")


@pytest.fixture
def held(payments, in_background, shop):
    """The first request's call to the payments service, held in flight."""
    payments.then(held := Held())
    held.answer = in_background.submit(shop.order)
    held.wait()
    return held


def test_a_repeat_takes_over_after_the_lease(shop, held, end_lease, count, entry):
    end_lease()
    second = shop.order()
    assert second.status_code == 202
    after_second = entry()
    held.go()
    first = held.answer.result()
    assert (first.status_code, first.data) == (202, second.data)
    assert entry() == after_second
    assert count(*EFFECTS) == [1, 1, 1]


def test_an_overtaken_request_does_not_accept(shop, payments, held, end_lease, in_background, count, entry):
    end_lease()
    payments.then(held_again := Held())
    second = in_background.submit(shop.order)
    held_again.wait()
    in_flight = entry()
    held.go()
    first = held.answer.result()
    assert (first.status_code, first.json["error"]) == (409, "request_in_progress")
    assert entry() == in_flight
    assert count("outbox") == [0]
    held_again.go()
    assert second.result().status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]


def test_an_overtaken_request_does_not_decline(shop, payments, end_lease, in_background, entry):
    token = "tok_decline_expired"
    first_held, second_held = Held(), Held()
    payments.then(first_held, second_held)
    first = in_background.submit(shop.order, token=token)
    first_held.wait()
    end_lease()
    second = in_background.submit(shop.order, token=token)
    second_held.wait()
    in_flight = entry()
    first_held.go()
    assert first.result().status_code == 409
    assert entry() == in_flight
    second_held.go()
    assert second.result().status_code == 402


def test_an_overtaken_request_does_not_release_the_claim(shop, payments, end_lease, in_background, entry):
    first_held, second_held = Held(request_lost()), Held()
    payments.then(first_held, second_held)
    first = in_background.submit(shop.order)
    first_held.wait()
    end_lease()
    second = in_background.submit(shop.order)
    second_held.wait()
    in_flight = entry()
    first_held.go()
    assert first.result().status_code == 503
    assert entry() == in_flight
    second_held.go()
    assert second.result().status_code == 202


def test_only_one_repeat_takes_over(shop, payments, end_lease, in_background, count):
    payments.then(answer_lost())
    shop.order()
    answers = [in_background.submit(shop.order) for _ in range(10)]
    assert {answer.result().status_code for answer in answers} <= {202, 409}
    assert len(payments.requests) == 2
    assert count(*EFFECTS) == [1, 1, 1]


@pytest.mark.parametrize("lease_ends", [False, True])
def test_an_abandoned_request_is_not_reported_as_a_decline(shop, payments, sweep, end_lease, count, entry, lease_ends):
    payments.then(request_lost())
    shop.order()
    sweep()
    if lease_ends:
        end_lease()
    swept = entry()
    first, second = shop.order(), shop.order()
    if swept["status"] == "AWAITING_AUTHORIZATION":  # it is being closed
        assert {first.json["error"], second.json["error"]} == {"request_in_progress"}
    else:
        assert (first.status_code, first.json["error"]) == (409, "request_abandoned")
        assert first.json["details"] == {"order_ledger_id": swept["id"]}
        assert (second.status_code, second.data) == (409, first.data)
        assert "Idempotency-Replayed" in second.headers
    assert len(payments.requests) == 1
    assert shop.order(quantity=1).json["error"] == "idempotency_key_reused"
    assert entry() | {"response_status": None, "response_body": None} == swept
    assert count("outbox") == [0]


def test_second_of_two_repeats_that_found_an_entry_free_does_not_take_it_over(shop, payments, url, entry):
    payments.then(request_lost())
    shop.order()
    found = entry()
    with closing(Database(url, name="test", size=1)) as database:
        store = Store(database, 30, 60, Notifier(database, 0))
        assert store.take_over(found)
        assert store.take_over(found) is None


def test_an_entry_that_was_found_before_the_sweep_is_not_taken_over(shop, payments, url, sweep, end_lease, entry):
    payments.then(request_lost())
    shop.order()
    found = entry()
    sweep()
    end_lease()
    with closing(Database(url, name="test", size=1)) as database:
        assert Store(database, 30, 60, Notifier(database, 0)).take_over(found) is None


@pytest.mark.parametrize("token", ["tok_visa", "tok_decline_stolen"])
def test_a_request_that_is_swept_meanwhile_changes_nothing(shop, payments, in_background, sweep, count, entry, token):
    payments.then(held := Held())
    answer = in_background.submit(shop.order, token=token)
    held.wait()
    sweep()
    swept = entry()
    held.go()
    assert answer.result().json["error"] == "request_in_progress"
    assert entry() == swept
    assert count("outbox") == [0]


@pytest.fixture
def void_by_key(payments_app, entry):
    """Send the sweeper's void, which leaves a tombstone if nothing is held yet."""

    def void():
        body = {"authorization_key": f"authorize:{entry()['id']}", "idempotency_key": "abandon"}
        assert payments_app.test_client().post("/payments/void", json=body).status_code == 200

    return void


def test_an_authorization_after_the_void_is_refused(shop, held, sweep, void_by_key, count, sql):
    sweep()
    void_by_key()
    held.go()
    assert held.answer.result().json["error"] == "request_in_progress"
    assert count("outbox") == [0]
    assert sql("SELECT status FROM payment_authorizations") == [{"status": "VOIDED"}]


def test_an_authorization_that_meets_a_void_ends_as_abandoned(shop, held, void_by_key, count, entry):
    """The void is final. The entry ends, and the client does not see a decline."""
    void_by_key()
    held.go()
    answer = held.answer.result()
    assert (answer.status_code, answer.json["error"]) == (409, "request_abandoned")
    assert (entry()["status"], entry()["failure_code"]) == ("AUTHORIZATION_FAILED", "abandoned")
    assert (shop.order().status_code, shop.order().data) == (409, answer.data)
    assert count("outbox") == [0]
