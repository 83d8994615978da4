"""Rates of requests for each key and each address, and of refused credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.api.errors import RateLimited
from common.database.database import Database
from common.process.settings import Settings
from edge_api.limits import Limits
from edge_api.rates import TAKE_TOKENS, Rate
from tests import credentials
from tests.edge_api.conftest import Shop

CLIENT, OTHER_CLIENT = "198.41.0.4", "192.33.4.12"
PROXIED = {"TRUSTED_PROXIES": "127.0.0.1"}
UNKNOWN = "7b9d2c2e-1111-4222-8333-123456789abc"
ShopWith = Callable[..., Shop]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """A database that counts statements."""

    def __init__(self, database: Database) -> None:
        self.database, self.statements = database, 0

    def one(self, sql: str, **params: Any) -> Any:
        assert sql == TAKE_TOKENS
        self.statements += 1
        return self.database.one(sql, **params)


@pytest.fixture
def counting(url: str) -> Any:
    database = Database(url, name="test", size=4)
    yield Counting(database)
    database.close()


@pytest.fixture
def known(url: str) -> dict[str, str]:
    """Name → the key of a client with that name."""
    keys = {name: credentials.new_key() for name in ("alice", "bob")}
    for name, key in keys.items():
        credentials.add_key_at(url, key=key, client=name)
    return keys


def taken(rate: Rate, subject: str, tries: int) -> int:
    def try_() -> bool:
        try:
            rate.take(subject)
        except RateLimited:
            return False
        return True

    return sum(try_() for _ in range(tries))


def gets(shop: Shop, times: int) -> list[int]:
    return [shop.get(UNKNOWN).status_code for _ in range(times)]


def with_headers(shop: Shop, **headers: str) -> Shop:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Shop(shop.app, shop.product_id, **{**shop.headers, **named})


def test_key_is_limited_for_reads_and_writes(shop_with: ShopWith) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_KEY="2")
    assert gets(shop, 2) == [404, 404]
    response = shop.order()
    assert (response.status_code, response.json["error"]) == (429, "rate_limited")
    assert response.headers["Retry-After"] == "30"
    assert shop.app.test_client().get("/live").status_code == 200, "a probe needs no key"


def test_each_key_has_its_own_limit(shop_with: ShopWith, known: dict[str, str]) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_KEY="1")
    for key in known.values():
        assert gets(with_headers(shop, Authorization=f"Bearer {key}"), 2) == [404, 429]


def test_keys_of_one_client_have_limits_of_their_own(shop_with: ShopWith, url: str) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_KEY="1")
    for key in (credentials.new_key(), credentials.new_key()):
        credentials.add_key_at(url, key=key, client="alice")
        assert gets(with_headers(shop, Authorization=f"Bearer {key}"), 2) == [404, 429]


def test_each_address_has_its_own_limit(shop_with: ShopWith) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_ADDRESS="1", **PROXIED)
    assert gets(with_headers(shop, X_Forwarded_For=CLIENT), 2) == [404, 429]
    assert gets(with_headers(shop, X_Forwarded_For=OTHER_CLIENT), 1) == [404]
    for spoofed in (f"{OTHER_CLIENT}1, {CLIENT}", f"nonsense, {CLIENT}"):
        assert gets(with_headers(shop, X_Forwarded_For=spoofed), 1) == [429]


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_IP"])
def test_no_header_of_a_stranger_changes_its_address(shop_with: ShopWith, header: str) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_ADDRESS="1", TRUSTED_PROXIES="10.0.0.0/8")
    assert [gets(with_headers(shop, **{header: f"198.41.0.{n}"}), 1) for n in (1, 2)] == [[404], [429]]


def test_address_is_limited_before_its_credential_is_checked(shop_with: ShopWith) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_ADDRESS="1", FAILED_AUTHENTICATIONS_PER_MINUTE="0", **PROXIED)
    assert gets(with_headers(shop, X_Forwarded_For=CLIENT, Authorization="Bearer 1"), 2) == [401, 429]


def test_limit_is_shared_by_all_processes(shop_with: ShopWith) -> None:
    one, other = (shop_with(REQUESTS_PER_MINUTE_PER_KEY="3") for _ in range(2))
    assert gets(one, 1) + gets(other, 1) + gets(one, 1) + gets(other, 1) == [404, 404, 404, 429]


def test_limits_that_are_off_send_no_statement(counting: Counting) -> None:
    assert taken(Rate(counting, "requests", 0), "key:k", 100) == 100  # type: ignore[arg-type]
    assert counting.statements == 0


def test_process_takes_the_tokens_of_a_second_at_once(counting: Counting) -> None:
    rates = [Rate(counting, "requests", 600, Clock()) for _ in range(3)]  # type: ignore[arg-type]
    assert sum(taken(rates[number % 3], "key:k", 1) for number in range(1000)) == 600
    assert counting.statements <= 60 + len(rates), "a batch of ten for each statement"


def test_empty_bucket_is_not_asked_for_again_until_it_is_refilled(counting: Counting) -> None:
    clock = Clock()
    rate = Rate(counting, "requests", 60, clock)  # type: ignore[arg-type]
    assert taken(rate, "key:k", 60) == 60
    before = counting.statements
    assert taken(rate, "key:k", 1000) == 0
    assert counting.statements == before + 1
    clock.now += 1
    taken(rate, "key:k", 1)
    assert counting.statements == before + 2


def test_tokens_are_refilled_as_time_passes(counting: Counting, sql: Any) -> None:
    clock = Clock()
    rate = Rate(counting, "requests", 60, clock)  # type: ignore[arg-type]
    taken(rate, "key:k", 60)
    sql("UPDATE request_rates SET refilled_at = refilled_at - interval '10 s'")
    clock.now += 10
    assert taken(rate, "key:k", 20) == 10


def guesses(shop: Shop, address: str, *keys: str) -> list[int]:
    return [gets(with_headers(shop, X_Forwarded_For=address, Authorization=f"Bearer {key}"), 1)[0] for key in keys]


def test_guesses_of_an_address_are_limited(shop_with: ShopWith, known: dict[str, str]) -> None:
    shop = shop_with(FAILED_AUTHENTICATIONS_PER_MINUTE="2", **PROXIED)
    assert guesses(shop, CLIENT, "1", "2") == [401, 401]
    assert guesses(shop, CLIENT, "3", "4")[1] == 429
    assert guesses(shop, CLIENT, known["alice"]) == [429], "a right guess is not told from a wrong one"
    assert guesses(shop, OTHER_CLIENT, known["alice"]) == [404]


def test_known_key_may_be_used_beside_guesses(shop_with: ShopWith, known: dict[str, str]) -> None:
    shop = shop_with(FAILED_AUTHENTICATIONS_PER_MINUTE="1", **PROXIED)
    assert guesses(shop, CLIENT, known["alice"], "1", "2", "3", known["alice"]) == [404, 401, 429, 429, 404]


def test_requests_without_a_credential_are_no_guesses(shop_with: ShopWith) -> None:
    shop = shop_with(FAILED_AUTHENTICATIONS_PER_MINUTE="1", **PROXIED)
    shop = with_headers(shop, X_Forwarded_For=CLIENT, Authorization="")
    assert gets(shop, 3) == [401] * 3


# Rows that count no more


def test_expired_rows_are_deleted_at_a_full_batch_each_second(url: str, sql: Any, count: Any) -> None:
    sql("INSERT INTO request_rates SELECT 'old:' || n, 1, now() - interval '61 min' FROM generate_series(1, 2500) n")
    sql("INSERT INTO declines SELECT 'old:' || n, now() - interval '61 min' FROM generate_series(1, 10) n")
    sql("INSERT INTO request_rates SELECT 'new:' || n, 1, now() - interval '59 min' FROM generate_series(1, 5) n")
    sql("INSERT INTO declines VALUES ('new', now() - interval '59 min')")
    clock, left = Clock(), []
    database = Database(url, name="test", size=1)
    limits = Limits(database, Settings.load({"DATABASE_URL": url, **credentials.SETTINGS}), clock)
    for now in (0, 0.5, 1, 2, 3, 61, 62):
        clock.now = now
        limits.expire_if_due()
        left.append(count("request_rates", "declines"))
    database.close()
    assert left == [[1505, 1], [1505, 1], [505, 1], [5, 1], [5, 1], [5, 1], [5, 1]]
