"""Requests that are overtaken, closed behind their backs, or lose the database at the worst moment."""

from __future__ import annotations

import pytest

from common.config import Settings
from edge_api.app import create_app
from tests.edge_api.conftest import Shop
from tests.edge_api.neighbours import PATIENCE_S, Held, answer_lost, request_lost

EFFECTS = ("order_ledger", "outbox", "payment_authorizations")
T1, T2 = "INSERT INTO order_ledger ", "order.authorized"


@pytest.fixture
def held(payments, in_background, shop):
    """The first request's call to the payments service, while it is on its way."""
    payments.then(held := Held())
    held.answer = in_background.submit(shop.order)
    held.wait()
    return held


def test_a_request_that_takes_too_long_is_overtaken(shop, held, end_lease, count, entry):
    end_lease()
    second = shop.order()
    assert second.status_code == 202
    after_second = entry()
    held.go()
    first = held.answer.result()
    assert (first.status_code, first.data) == (202, second.data)
    assert entry() == after_second
    assert count(*EFFECTS) == [1, 1, 1]


def test_who_was_overtaken_changes_nothing(shop, payments, held, end_lease, in_background, count, entry):
    end_lease()
    payments.then(held_again := Held())
    second = in_background.submit(shop.order)
    held_again.wait()
    in_hand = entry()
    held.go()
    first = held.answer.result()
    assert (first.status_code, first.json["error"]) == (409, "request_in_progress")
    assert entry() == in_hand
    assert count("outbox") == [0]
    held_again.go()
    assert second.result().status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]


def test_who_was_overtaken_does_not_decline(shop, payments, end_lease, in_background, entry):
    token = "tok_decline_expired"
    first_held, second_held = Held(), Held()
    payments.then(first_held, second_held)
    first = in_background.submit(shop.order, token=token)
    first_held.wait()
    end_lease()
    second = in_background.submit(shop.order, token=token)
    second_held.wait()
    in_hand = entry()
    first_held.go()
    assert first.result().status_code == 409
    assert entry() == in_hand
    second_held.go()
    assert second.result().status_code == 402


def test_who_was_overtaken_does_not_let_go_for_the_other(shop, payments, end_lease, in_background, entry):
    first_held, second_held = Held(request_lost()), Held()
    payments.then(first_held, second_held)
    first = in_background.submit(shop.order)
    first_held.wait()
    end_lease()
    second = in_background.submit(shop.order)
    second_held.wait()
    in_hand = entry()
    first_held.go()
    assert first.result().status_code == 503
    assert entry() == in_hand
    second_held.go()
    assert second.result().status_code == 202


def test_only_one_takes_over(shop, payments, end_lease, in_background, count):
    payments.then(answer_lost())
    shop.order()
    answers = [in_background.submit(shop.order) for _ in range(10)]
    assert {answer.result().status_code for answer in answers} <= {202, 409}
    assert len(payments.requests) == 2
    assert count(*EFFECTS) == [1, 1, 1]


@pytest.mark.parametrize("lease_ends", [False, True])
def test_a_swept_request_is_declined(shop, payments, sweep, end_lease, count, entry, lease_ends):
    payments.then(request_lost())
    shop.order()
    sweep()
    if lease_ends:
        end_lease()
    swept = entry()
    for _ in range(2):
        response = shop.order()
        assert (response.status_code, response.json["error"]) == (402, "payment_declined")
        assert response.json["details"]["decline_code"] == "abandoned"
        assert response.json["details"]["is_retryable"] is False
    assert len(payments.requests) == 1
    assert shop.order(quantity=1).json["error"] == "idempotency_key_reused"
    assert entry() == swept
    assert count("outbox") == [0]


@pytest.mark.parametrize("token", ["tok_visa", "tok_decline_stolen"])
def test_a_request_that_is_swept_while_it_asks(shop, payments, in_background, sweep, count, entry, token):
    payments.then(held := Held())
    answer = in_background.submit(shop.order, token=token)
    held.wait()
    sweep()
    swept = entry()
    held.go()
    assert (answer.result().status_code, answer.result().json["details"]["decline_code"]) == (402, "abandoned")
    assert entry() == swept
    assert count("outbox") == [0]


@pytest.fixture
def void_by_key(payments_app, entry):
    """The sweeper's void: it leaves a mark where nothing is held yet."""

    def void():
        body = {"authorization_key": f"authorize:{entry()['id']}", "idempotency_key": "abandon"}
        assert payments_app.test_client().post("/payments/void", json=body).status_code == 200

    return void


def test_an_authorize_that_comes_after_the_void(shop, held, sweep, void_by_key, count, sql):
    sweep()
    void_by_key()
    held.go()
    assert held.answer.result().json["details"]["decline_code"] == "abandoned"
    assert count("outbox") == [0]
    assert sql("SELECT status FROM payment_authorizations") == [{"status": "VOIDED"}]


def test_an_authorize_that_meets_a_void_is_no_sale_and_no_decline(shop, held, void_by_key, count, entry):
    """Nobody has closed the entry yet: who did the void will."""
    void_by_key()
    held.go()
    assert held.answer.result().json["error"] == "request_in_progress"
    assert (entry()["status"], entry()["response_status"]) == ("AWAITING_AUTHORIZATION", None)
    assert count("outbox") == [0]


@pytest.fixture
def far_shop(severable, shop):
    """A shop whose Edge API reaches the database by a way that can be cut."""
    settings = Settings.load({"DATABASE_URL": severable.url, "LOG_LEVEL": "ERROR"})
    return Shop(create_app(settings), shop.product_id)


def test_the_answer_to_the_commit_is_lost(far_shop, severable, count, notified):
    severable.cut_after(T2)
    response = far_shop.order()
    assert severable.was_cut
    assert response.status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]
    assert notified() == 1  # with the commit, not after it
    assert far_shop.order().data == response.data


def test_the_connection_is_lost_before_the_commit(far_shop, severable, count, notified, sql):
    severable.cut_before(T2)
    assert far_shop.order().status_code == 202
    assert severable.was_cut
    assert count(*EFFECTS) == [1, 1, 1]
    assert notified() == 1
    assert len(sql("SELECT * FROM order_ledger_history")) == 2


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_the_connection_is_lost_in_the_commit_of_a_decline(far_shop, severable, payments, end_lease, cut, entry):
    getattr(severable, cut)("UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED'")
    far_shop.order(token="tok_decline_expired")
    assert severable.was_cut
    end_lease()
    response = far_shop.order(token="tok_decline_expired")
    assert (response.status_code, response.json["details"]["decline_code"]) == (402, "card_expired")
    assert entry()["status"] == "AUTHORIZATION_FAILED"


@pytest.mark.parametrize(("cut", "entries"), [("cut_before", 0), ("cut_after", 1)])
def test_the_connection_is_lost_in_the_first_commit(far_shop, severable, payments, end_lease, count, cut, entries):
    getattr(severable, cut)(T1)
    response = far_shop.order()
    assert (response.status_code, response.json["error"]) == (503, "database_unavailable")
    assert count("order_ledger") == [entries]
    assert payments.requests == []
    end_lease()
    assert far_shop.order().status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]


def test_the_database_goes_while_the_payment_is_asked_for(far_shop, severable, payments, end_lease, count):
    def go_down(deliver):
        severable.stop()
        return deliver()

    payments.then(go_down)
    response = far_shop.order()
    assert (response.status_code, response.json["error"]) == (503, "database_unavailable")
    severable.start()
    end_lease()
    assert far_shop.order().status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]


def test_the_database_is_down_for_a_while(far_shop, severable, inventory):
    edge = far_shop.app.test_client()
    assert far_shop.order("before").status_code == 202
    severable.stop()
    for response in (far_shop.order(), far_shop.get(far_shop.product_id), far_shop.order("before")):
        assert (response.status_code, response.json["error"]) == (503, "database_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert severable.url not in response.text
    health = edge.get("/health")
    assert health.status_code == 503
    assert health.json == {"status": "unhealthy", "service": "edge_api", "database": "disconnected"}
    assert edge.get("/live").status_code == 200
    assert len(inventory.requests) == 1

    severable.start()
    assert far_shop.order().status_code == 202
    assert edge.get("/health").json == {"status": "healthy", "service": "edge_api", "database": "connected"}


def test_health_of_a_database_that_hangs(far_shop, severable, in_background):
    """It gives up by itself; the contract's 2 s are less than the patience here, as a busy machine has no clock."""
    severable.be_silent()
    answer = in_background.submit(far_shop.app.test_client().get, "/health")
    assert answer.result(PATIENCE_S).status_code == 503
