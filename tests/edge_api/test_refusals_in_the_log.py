"""Refused requests are in the log, with their status and without the credential."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from common.process import logs
from tests.credentials import new_key
from tests.edge_api.conftest import Shop
from tests.edge_api.test_request_rates import UNKNOWN, gets, with_headers

ShopWith = Callable[..., Shop]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[object]]:
    """Text and status of each GET in the log so far."""
    caplog.set_level(logging.INFO, "common.api.service")

    def gets_of() -> list[object]:
        requests = [each for each in caplog.records if each.getMessage().startswith("GET ")]
        return [(each.getMessage(), vars(each)["http_status"]) for each in requests]

    return gets_of


def test_unusual_number_of_requests_is_in_the_log(shop_with: ShopWith, lines: Callable[[], list[object]]) -> None:
    shop = shop_with(REQUESTS_PER_MINUTE_PER_KEY="1")
    assert gets(shop, 3) == [404, 429, 429]
    assert lines() == [(f"GET /orders/{UNKNOWN}", status) for status in (404, 429, 429)]


def test_refused_credential_is_in_the_log_and_its_text_is_not(
    shop_with: ShopWith, lines: Callable[[], list[object]], caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key()
    assert gets(with_headers(shop_with(), Authorization=f"Bearer {key}"), 1) == [401]
    assert lines() == [(f"GET /orders/{UNKNOWN}", 401)]
    assert key not in caplog.text
    assert all(key not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    "text",
    ["customer@shop.example", new_key(), "4111111111111111", "a" * 129],
    ids=["address", "key", "card", "long"],  # the workers of a run must agree on the names of tests
)
def test_request_id_that_looks_like_a_key_or_an_address_is_replaced(shop_with: ShopWith, text: str) -> None:
    response = with_headers(shop_with(), X_Request_ID=text).get(UNKNOWN)
    assert response.headers["X-Request-ID"] != text
    assert not logs.may_be_request_id(text)
