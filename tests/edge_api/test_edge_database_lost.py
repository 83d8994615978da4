"""The database connection is lost at each critical moment of a request, or the database is down."""

from __future__ import annotations

import pytest

from common.process.settings import Settings
from edge_api.app import create_app
from tests import credentials
from tests.edge_api.conftest import Shop
from tests.edge_api.neighbours import PATIENCE_S, request_lost
from tests.waiting import eventually

EFFECTS = ("order_ledger", "outbox", "payment_authorizations")
T1, T2 = "INSERT INTO order_ledger ", "order.authorized"
TAKEOVER = "SET claim_number = claim_number + 1"


@pytest.fixture
def far_shop(severable, shop):
    """A shop whose Edge API reaches the database over a connection that can be cut."""
    settings = Settings.load({"DATABASE_URL": severable.url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS})
    return Shop(create_app(settings), shop.product_id)


def repeated(shop, status, **changes):
    """Repeat the request until the broken one has released its claim, long before the lease ends."""

    def repeat():
        answer = shop.order(**changes)
        return answer if answer.status_code == status else None

    return eventually(repeat)


def test_commit_with_a_lost_confirmation_is_found(far_shop, severable, count, notified):
    severable.cut_after(T2)
    response = far_shop.order()
    assert severable.was_cut
    assert response.status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]
    assert notified() == 1  # with the commit, not after it
    assert far_shop.order().data == response.data


def test_a_connection_lost_before_the_commit_is_retried(far_shop, severable, count, notified, sql):
    severable.cut_before(T2)
    assert far_shop.order().status_code == 202
    assert severable.was_cut
    assert count(*EFFECTS) == [1, 1, 1]
    assert notified() == 1
    assert len(sql("SELECT * FROM order_ledger_history")) == 2


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_a_decline_that_is_not_committed_leaves_the_key_open(far_shop, severable, payments, cut, entry):
    getattr(severable, cut)("UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED'")
    far_shop.order(token="tok_decline_expired")
    assert severable.was_cut
    response = repeated(far_shop, 402, token="tok_decline_expired")
    assert response.json["details"]["decline_code"] == "card_expired"
    assert entry()["status"] == "AUTHORIZATION_FAILED"


@pytest.mark.parametrize(("cut", "entries"), [("cut_before", 0), ("cut_after", 1)])
def test_a_connection_lost_in_the_first_commit_holds_no_money(far_shop, severable, payments, count, cut, entries):
    getattr(severable, cut)(T1)
    response = far_shop.order()
    assert (response.status_code, response.json["error"]) == (503, "database_unavailable")
    assert count("order_ledger") == [entries]
    assert payments.requests == []
    repeated(far_shop, 202)
    assert count(*EFFECTS) == [1, 1, 1]


def test_a_takeover_whose_answer_is_lost_is_given_back(far_shop, severable, payments, count):
    payments.then(request_lost())
    assert far_shop.order().status_code == 503, "the key stays open"
    severable.cut_after(TAKEOVER)
    response = far_shop.order()
    assert severable.was_cut
    assert (response.status_code, response.json["error"]) == (503, "database_unavailable")
    repeated(far_shop, 202)
    assert count(*EFFECTS) == [1, 1, 1]


def test_a_database_lost_during_a_call_does_not_hold_twice(far_shop, severable, payments, count):
    def go_down(deliver):
        severable.stop()
        return deliver()

    payments.then(go_down)
    response = far_shop.order()
    assert (response.status_code, response.json["error"]) == (503, "database_unavailable")
    severable.start()
    repeated(far_shop, 202)
    assert count(*EFFECTS) == [1, 1, 1]


def test_orders_are_accepted_again_once_the_database_is_back(far_shop, severable, inventory):
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


def test_health_responds_while_the_database_hangs(far_shop, severable, in_background):
    """The check gives up by itself. No time is asserted, because the machine may be busy."""
    severable.be_silent()
    answer = in_background.submit(far_shop.app.test_client().get, "/health")
    assert answer.result(PATIENCE_S).status_code == 503
