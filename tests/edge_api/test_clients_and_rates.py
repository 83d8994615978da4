"""API keys, their permissions, and the rate limit."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from tests.edge_api.conftest import Shop
from tests.edge_api.neighbours import request_lost


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = f"alice={digest('alices key')},bob={digest('bobs key')},auditor={digest('read key')}:read"


@pytest.fixture
def anyone(shop_with):
    """A shop without a key, at an instance that requires one."""
    return shop_with(API_KEYS=KEYS)


@pytest.fixture
def alice(anyone):
    return Shop(anyone.app, anyone.product_id, **bearer("alices key"))


@pytest.fixture
def bob(anyone):
    return Shop(anyone.app, anyone.product_id, **bearer("bobs key"))


@pytest.fixture
def auditor(anyone):
    return Shop(anyone.app, anyone.product_id, **bearer("read key"))


BAD_CREDENTIALS = [
    {},
    bearer(""),
    bearer("nobodys key"),
    bearer("alices key2"),
    bearer(digest("alices key")),
    {"Authorization": "alices key"},
    {"Authorization": "Basic alices key"},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer \xe4\xff"},
    {"X-Api-Key": "alices key"},
]


@pytest.mark.parametrize("headers", BAD_CREDENTIALS, ids=str)
def test_a_missing_or_unknown_key_is_refused(anyone, alice, headers, count):
    order_ledger_id = alice.order().json["order_ledger_id"]
    stranger = Shop(anyone.app, anyone.product_id, **headers)
    for response in (stranger.order("new"), stranger.get(order_ledger_id), stranger.post(data=b"{")):
        assert (response.status_code, response.json["error"]) == (401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.json["request_id"] == response.headers["X-Request-ID"]
    assert count("order_ledger") == [1]


def test_the_scheme_may_be_in_any_case(anyone):
    assert anyone.post(headers={"Authorization": "bearer alices key"}, json=anyone.order_body()).status_code == 202


def test_a_read_only_key_cannot_place_orders(auditor, inventory, count):
    response = auditor.order()
    assert (response.status_code, response.json["error"]) == (403, "forbidden")
    assert count("order_ledger") == [0]
    assert inventory.requests == []
    assert auditor.get(str(uuid.uuid4())).status_code == 404


def test_refused_credentials_are_not_stored(anyone, alice, auditor):
    assert [anyone.order().status_code, auditor.order().status_code, alice.order().status_code] == [401, 403, 202]
    assert anyone.order().status_code == 401


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


def test_without_keys_every_caller_may_order(shop):
    assert shop.order().status_code == 202
    assert shop.post("2", headers=bearer("whatever"), json=shop.order_body()).status_code == 202


@pytest.mark.parametrize("path", ["/health", "/live", "/openapi.json", "/docs"])
def test_probes_and_documentation_need_no_key(anyone, path):
    assert anyone.app.test_client().get(path).status_code == 200


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


def test_each_client_has_its_own_limit(shop_with):
    shop = shop_with(RATE_LIMIT_PER_MINUTE="1", API_KEYS=KEYS)
    for key in ("alices key", "bobs key"):
        assert statuses(Shop(shop.app, shop.product_id, **bearer(key)), "1", "2") == [202, 429]
