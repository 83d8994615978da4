"""Limits of two Edge APIs with two workers each, as real processes, behind a proxy's header."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests import credentials
from tests.faults.shared_stack import new_key
from tests.system.stack import Stack

CLIENT, OTHER_CLIENT, GUESSER = "198.41.0.4", "192.33.4.12", "199.9.14.201"
ORDER = {"user_id": "7b9d2c2e-1111-4222-8333-123456789abc", "email": "a@b.example"}
UNKNOWN = "/orders/7b9d2c2e-1111-4222-8333-123456789abc"
SETTINGS = {
    "TRUSTED_PROXIES": "127.0.0.1",
    "REQUESTS_PER_MINUTE_PER_ADDRESS": "20",
    "FAILED_AUTHENTICATIONS_PER_MINUTE": "5",
    "DECLINES_PER_HOUR": "3",
}


@pytest.fixture(scope="module")
def shared(migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(migrated_url, tmp_path_factory.mktemp("web"), **SETTINGS) as stack:
        stack.start("web", "web.2", "inventory_service", "payments_service")
        yield stack


@pytest.fixture
def stack(shared: Stack, url: str) -> Stack:
    """Empty tables. The processes remember for some seconds who has no tokens, so each test has its own clients."""
    return shared


def get(stack: Stack, number: int, forwarded_for: str, **headers: str) -> int:
    """Ask one of the two Edge APIs, on a new connection."""
    url = stack.url(("web", "web.2")[number % 2])
    named = {**credentials.edge_headers(), "X-Forwarded-For": forwarded_for, **headers}
    return requests.get(url + UNKNOWN, headers=named, timeout=30).status_code


def decline(stack: Stack, number: int) -> int:
    item = {"product_id": stack.product(), "quantity": 1}
    body = {**ORDER, "items": [item], "payment": {"method": "card", "token": "tok_decline_stolen"}}
    headers = credentials.edge_headers() | {"Idempotency-Key": new_key()}
    url = stack.url(("web", "web.2")[number % 2])
    return requests.post(f"{url}/orders", json=body, headers=headers, timeout=30).status_code


# Buckets are refilled while a test runs, so a test counts what a limit for each process or address would let through.


def test_limits_hold_over_all_workers_of_all_hosts(stack: Stack) -> None:
    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(lambda number: get(stack, number, CLIENT), range(60)))
    assert statuses.count(404) >= 20
    assert statuses.count(429) >= 1
    assert get(stack, 0, OTHER_CLIENT) == 404
    assert [decline(stack, number) for number in range(5)] == [402, 402, 402, 429, 429]


@pytest.mark.parametrize(
    ("header", "client"),
    [("X-Real-IP", 11), ("Forwarded", 12), ("X-Client-IP", 13), ("X_Forwarded_For", 14), ("X-Forwarded-For", 15)],
)
def test_spoofed_header_gives_no_new_limit(stack: Stack, header: str, client: int) -> None:
    address, last = f"198.41.0.{client}", ""
    if header == "X-Forwarded-For":
        last = f", {address}"
    headers = [{header: f"192.0.2.{number}{last}"} for number in range(60)]
    assert 429 in [get(stack, number, address, **spoofed) for number, spoofed in enumerate(headers)]


def test_guesses_are_limited_over_all_workers(stack: Stack) -> None:
    wrong = [f"Bearer {credentials.new_key()}" for _ in range(18)]
    statuses = [get(stack, number, GUESSER, Authorization=key) for number, key in enumerate(wrong)]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses
