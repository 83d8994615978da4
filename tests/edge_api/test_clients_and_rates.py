"""Clients do not share orders or keys, and the rate limit of a client. tests/security has the matrix of credentials."""

from __future__ import annotations

import uuid
from contextlib import nullcontext

import pytest

from edge_api import clients
from tests import credentials
from tests.edge_api.conftest import Shop
from tests.edge_api.neighbours import request_lost
from tests.other_session import other_session


@pytest.fixture
def alice(shop_of):
    return shop_of("alice")


@pytest.fixture
def bob(shop_of):
    return shop_of("bob")


def test_a_read_only_key_cannot_place_orders(shop_of, inventory, count):
    auditor = shop_of("auditor", scopes=["orders:read"])
    response = auditor.order()
    assert (response.status_code, response.json["error"]) == (403, "forbidden")
    assert count("order_ledger") == [0]
    assert inventory.requests == []
    assert auditor.get(str(uuid.uuid4())).status_code == 404


def test_refused_credentials_are_not_stored(alice, shop_of):
    stranger = Shop(alice.app, alice.product_id, **credentials.NO_CREDENTIAL)
    reader = shop_of("alice", scopes=["orders:read"])
    assert [stranger.order().status_code, reader.order().status_code, alice.order().status_code] == [401, 403, 202]
    refused = stranger.order()
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_clients_do_not_share_keys(alice, bob, count, sql):
    first, second = alice.order("k"), bob.order("k", quantity=5)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json["order_ledger_id"] != second.json["order_ledger_id"]
    assert "Idempotency-Replayed" not in second.headers
    assert count("order_ledger", "outbox", "payment_authorizations") == [2, 2, 2]
    assert {row["client"] for row in sql("SELECT client FROM order_ledger")} == {"alice", "bob"}
    assert alice.order("k").data == first.data


def test_clients_do_not_share_refusals(alice, bob):
    alice.order("k", items=[{"product_id": str(uuid.uuid4()), "quantity": 1}])
    assert bob.order("k").status_code == 202


@pytest.mark.parametrize("path", ["/health", "/live", "/openapi.json", "/docs"])
def test_probes_and_documentation_need_no_key(shop, path):
    assert shop.app.test_client().get(path, headers=credentials.NO_CREDENTIAL).status_code == 200


def test_invented_ids_do_not_drive_out_the_keys_in_use(alice, sql, monkeypatch):
    """A key that is remembered needs no query: the database may even have lost it."""
    monkeypatch.setattr(clients, "MAX_REMEMBERED", 3)
    assert alice.order("1").status_code == 202
    for _ in range(10):
        stranger = Shop(alice.app, alice.product_id, **credentials.edge_headers(credentials.new_key()))
        assert stranger.order("1").status_code == 401
    sql("UPDATE client_keys SET revoked_at = now() WHERE client = 'alice'")
    assert alice.order("2").status_code == 202


def test_request_does_not_wait_for_the_row_of_its_key(alice, url, monkeypatch):
    monkeypatch.setattr(clients, "suppress", lambda _: nullcontext())  # a wait that ends too late would be an error
    with other_session(url) as cursor:
        cursor.execute("SELECT FROM client_keys FOR UPDATE")
        assert alice.order("1").status_code == 202


def test_setting_that_is_not_read_any_more_is_named(shop_with, monkeypatch, caplog):
    monkeypatch.setenv("API_KEYS", "shop=0123")
    shop_with()
    assert "API_KEYS is set and not read any more" in caplog.text
    assert "0123" not in caplog.text


def statuses(shop, *keys):
    return [shop.order(key).status_code for key in keys]


def test_orders_over_the_limit_are_refused_until_a_token_is_refilled(shop_with, inventory, count, sql):
    shop = shop_with(RATE_LIMIT_PER_MINUTE="2")
    assert statuses(shop, "1", "2") == [202, 202]
    response = shop.order("3")
    assert (response.status_code, response.json["error"]) == (429, "rate_limited")
    assert response.headers["Retry-After"] == "30", "at two a minute, the next token is half a minute away"
    assert count("order_ledger") == [2]
    assert len(inventory.requests) == 2
    sql(
        "UPDATE rate_limits SET refilled_at = refilled_at - interval '30 s'"
    )  # half a minute refills half of the bucket
    assert statuses(shop, "3", "4") == [202, 429]


def test_the_bucket_does_not_overflow(shop_with, sql):
    shop = shop_with(RATE_LIMIT_PER_MINUTE="2")
    shop.order("1")
    sql("UPDATE rate_limits SET refilled_at = refilled_at - interval '1 day'")
    assert statuses(shop, "2", "3", "4") == [202, 202, 429]


def test_repeats_are_not_counted(shop_with, payments):
    shop = shop_with(RATE_LIMIT_PER_MINUTE="2")
    payments.then(request_lost())
    assert statuses(shop, "1", "1", "1", "1") == [503, 202, 202, 202]
    assert shop.order("1", quantity=1).status_code == 422
    items = [{"product_id": str(uuid.uuid4()), "quantity": 1}]
    assert [shop.order("2", items=items).status_code for _ in range(3)] == [422] * 3
    assert statuses(shop, "3", "1") == [429, 202]


def test_reads_are_not_counted(shop_with):
    shop = shop_with(RATE_LIMIT_PER_MINUTE="1")
    order_ledger_id = shop.order("1").json["order_ledger_id"]
    assert {shop.get(order_ledger_id).status_code for _ in range(3)} == {200}


def test_each_client_has_its_own_limit(shop_with, shop_of):
    limited = shop_with(RATE_LIMIT_PER_MINUTE="1")
    for client in ("alice", "bob"):
        assert statuses(shop_of(client, at=limited), "1", "2") == [202, 429]
    assert statuses(shop_of("bob", at=limited), "3") == [429], "a second key does not raise the limit"
