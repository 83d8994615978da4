"""Card testing: after too many declined payments a key, or an address, may place no order for a while."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import credentials
from tests.edge_api.conftest import Shop
from tests.edge_api.neighbours import answered, request_lost

CLIENT, OTHER_CLIENT = "198.41.0.4", "192.33.4.12"
DECLINED = "tok_decline_stolen"
PROXIED = {"TRUSTED_PROXIES": "127.0.0.1"}
ShopWith = Callable[..., Shop]


@pytest.fixture
def age(sql: Callable[..., Any]) -> Callable[[str], Any]:
    """`age("30 min")`: let time pass for all declines."""
    return lambda by: sql("UPDATE declines SET at = at - %(by)s::interval", by=by)


def decline(shop: Shop, *keys: str) -> list[int]:
    return [shop.order(key, token=DECLINED).status_code for key in keys]


def from_address(shop: Shop, address: str) -> Shop:
    return Shop(shop.app, shop.product_id, **{**shop.headers, "X-Forwarded-For": address})


def test_order_after_too_many_declines_is_refused(
    shop_with: ShopWith, inventory: Any, payments: Any, count: Any
) -> None:
    shop = shop_with(DECLINES_PER_HOUR="2")
    assert decline(shop, "1", "2") == [402, 402]
    asked, written = len(inventory.requests) + len(payments.requests), count("order_ledger", "refused_requests")
    response = shop.order("3")
    assert (response.status_code, response.json["error"]) == (429, "rate_limited")
    assert "declined" in response.json["message"]
    assert 3590 <= int(response.headers["Retry-After"]) <= 3600
    assert len(inventory.requests) + len(payments.requests) == asked, "no service is asked"
    assert count("order_ledger", "refused_requests") == written, "nothing is written"


def test_keys_of_one_client_have_limits_of_their_own(shop_with: ShopWith, url: str) -> None:
    shop = shop_with(DECLINES_PER_HOUR="1")
    for number in ("1", "2"):
        credentials.add_key_at(url, key=(key := credentials.new_key()), client="alice")
        other = Shop(shop.app, shop.product_id, Authorization=f"Bearer {key}")
        assert decline(other, f"{number} declined", f"{number} refused") == [402, 429]


def test_default_limit_is_twenty(shop: Shop) -> None:
    assert decline(shop, *map(str, range(21))) == [402] * 20 + [429]


def test_there_is_room_once_a_decline_is_an_hour_old(shop_with: ShopWith, age: Any) -> None:
    shop = shop_with(DECLINES_PER_HOUR="2")
    decline(shop, "1")
    age("40 min")
    decline(shop, "2")
    response = shop.order("3")
    assert (response.status_code, int(response.headers["Retry-After"]) <= 1200) == (429, True)
    age("20 min")
    assert shop.order("3").status_code == 202, "with the same key"
    assert decline(shop, "4", "5") == [402, 429]


def test_stored_responses_are_replayed_to_a_key_that_is_limited(shop_with: ShopWith) -> None:
    shop = shop_with(DECLINES_PER_HOUR="1")
    accepted = shop.order("1")
    assert decline(shop, "2", "3") == [402, 429]
    assert shop.order("1").data == accepted.data
    assert decline(shop, "2") == [402]
    assert shop.order("1", quantity=7).status_code == 422
    assert shop.get(accepted.json["order_ledger_id"]).status_code == 200


def test_order_that_was_begun_goes_on_although_its_key_is_limited(shop_with: ShopWith, payments: Any) -> None:
    shop = shop_with(DECLINES_PER_HOUR="1")
    payments.then(request_lost())
    assert shop.order("begun").status_code == 503
    assert decline(shop, "2", "3") == [402, 429]
    assert shop.order("begun").status_code == 202


def test_replayed_decline_counts_once(shop_with: ShopWith, count: Any) -> None:
    shop = shop_with(DECLINES_PER_HOUR="2")
    assert decline(shop, "1", "1", "1", "2", "3") == [402] * 4 + [429]
    assert count("declines") == [2]


def test_other_refusals_do_not_count(shop_with: ShopWith, count: Any) -> None:
    shop = shop_with(DECLINES_PER_HOUR="1")
    unknown = [{"product_id": "7b9d2c2e-1111-4222-8333-123456789abc", "quantity": 1}]
    assert [shop.order("1", items=unknown).status_code, shop.order("2", quantity=0).status_code] == [422, 400]
    assert count("declines") == [0]
    assert shop.order("3").status_code == 202


def test_limit_is_shared_by_all_processes(shop_with: ShopWith) -> None:
    one, other = shop_with(DECLINES_PER_HOUR="2"), shop_with(DECLINES_PER_HOUR="2")
    assert decline(one, "1") + decline(other, "2") + decline(one, "3") + decline(other, "4") == [402, 402, 429, 429]


def test_zero_switches_the_limit_off(shop_with: ShopWith, count: Any) -> None:
    shop = shop_with(DECLINES_PER_HOUR="0")
    assert decline(shop, *map(str, range(25))) == [402] * 25
    assert count("declines") == [0]


def test_parallel_orders_exceed_the_limit_by_no_more_than_those_in_flight(shop_with: ShopWith, count: Any) -> None:
    shop, in_flight = shop_with(DECLINES_PER_HOUR="5"), 4
    with ThreadPoolExecutor(in_flight) as threads:
        statuses = list(threads.map(lambda number: decline(shop, str(number))[0], range(30)))
    assert 5 <= statuses.count(402) < 5 + in_flight
    assert set(statuses) == {402, 429}
    assert count("declines") == [statuses.count(402)]


def test_address_is_limited_whatever_the_key(shop_with: ShopWith, sql: Any) -> None:
    shop = shop_with(DECLINES_PER_HOUR="2", **PROXIED)
    thief = from_address(shop, CLIENT)
    assert decline(thief, "1", "2") == [402, 402]
    sql("DELETE FROM declines WHERE subject LIKE 'key:%%'")  # as if other keys had been used
    assert decline(thief, "3") == [429]
    assert from_address(shop, OTHER_CLIENT).order("4").status_code == 202
    for spoofed in (f"{OTHER_CLIENT}, {CLIENT}", f"{CLIENT}:4711"):
        assert decline(from_address(shop, spoofed), "5") == [429], spoofed


def test_address_of_an_unnamed_proxy_is_not_limited(shop_with: ShopWith, sql: Any) -> None:
    decline(shop_with(), "1")
    assert {row["subject"].partition(":")[0] for row in sql("SELECT subject FROM declines")} == {"key"}


def test_no_column_contains_an_address(shop_with: ShopWith, sql: Any) -> None:
    decline(from_address(shop_with(**PROXIED), CLIENT), "1")
    subjects = {row["subject"] for row in sql("SELECT subject FROM declines")}
    assert len(subjects) == 2
    assert not any(CLIENT in subject for subject in subjects)


def test_rows_are_deleted_when_they_count_no_more(shop_with: ShopWith, age: Any, sql: Any, count: Any) -> None:
    shop = shop_with()
    decline(shop, "1")
    sql("INSERT INTO request_rates VALUES ('old', 1, now() - interval '61 min'), ('new', 1, now())")
    age("61 min")
    decline(shop_with(), "2")
    assert count("declines", "request_rates") == [1, 1]


def test_token_that_a_gateway_repeats_is_not_stored_or_shown(
    shop_with: ShopWith, payments: Any, sql: Any, caplog: pytest.LogCaptureFixture
) -> None:
    token, email = "canary_of_a_card", "canary@shop.example"
    text = f"{token} of {email} was refused"
    refusal = {"error": "payment_declined", "message": text, "details": {"decline_code": token, "text": text}}
    payments.then(answered(402, refusal), answered(400, {**refusal, "error": "validation_error"}))
    responses = [shop_with().order(key, token=token) for key in ("1", "2")]
    assert [response.status_code for response in responses] == [402, 503]
    (stored,) = sql("SELECT string_agg(l::text, ' ') AS text FROM order_ledger AS l")
    for written in (stored["text"], caplog.text, *(response.text for response in responses)):
        assert "canary" not in written
