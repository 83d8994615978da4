"""Row 51: the sort order of text changes under the data. Required: keys and SKUs are still found."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests.books import violations
from tests.debian_postgres import IcuDatabase, debian_postgres
from tests.system.stack import Stack, running
from tests.waiting import eventually

__all__ = ["debian_postgres"]  # a fixture

OF_ALPINE, OF_DEBIAN = "en-US-u-va-posix", "en-US"  # capitals first, and as in a dictionary
COUNT = 60
EFFECTS = "SELECT (SELECT count(*) FROM order_ledger), count(*), count(capture_id) FROM payment_authorizations"


@pytest.fixture
def database(debian_postgres: EmbeddedPostgres) -> IcuDatabase:
    database = IcuDatabase(debian_postgres, "sorted", OF_ALPINE)
    migrate.upgrade(database.url)
    return database


@pytest.fixture
def stack(database: IcuDatabase, tmp_path: Path) -> Iterator[Stack]:
    with running(database.url, tmp_path) as stack:
        yield stack


def names() -> list[str]:
    """Keys as clients make them: letters of both cases, digits and hyphens, which collations sort differently."""
    source = random.Random(51)
    return ["".join(source.choices(string.ascii_letters + string.digits + "-_", k=12)) for _ in range(COUNT)]


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    connection.close()
    return rows


def post(url: str, body: dict[str, Any], **headers: str) -> requests.Response:
    def answered() -> list[requests.Response]:
        """Empty for a 503: pooled connections do not survive the restart."""
        response = requests.post(url, json=body, headers=headers, timeout=30)
        return [response] if response.status_code != 503 else []

    return eventually(answered, 30)[0]


def make_product(stack: Stack, sku: str) -> requests.Response:
    body = {"name": "Coffee", "sku": sku, "price_cents": 500, "initial_stock": 9}
    return post(f"{stack.url('inventory_service')}/inventory/products", body)


def order(stack: Stack, key: str, product: str) -> requests.Response:
    body = {
        "user_id": "7b9d2c2e-1111-4222-8333-123456789abc",
        "email": "a@b.example",
        "items": [{"product_id": product, "quantity": 1}],
        "payment": {"method": "card", "token": "tok_visa"},
    }
    return post(f"{stack.url('web')}/orders", body, **{"Idempotency-Key": key})


def test_change_of_sort_order_repeats_no_order_and_no_sku(stack: Stack, database: IcuDatabase) -> None:
    products = {name: make_product(stack, name).json()["id"] for name in names()}
    first = {name: order(stack, name, product) for name, product in products.items()}
    assert {response.status_code for response in first.values()} == {202}
    is_settled = "SELECT count(*) = 0 FROM order_ledger WHERE due_at IS NOT NULL"
    eventually(lambda: query(database.url, is_settled) == [(True,)], 60)
    assert query(database.url, EFFECTS) == [(COUNT, COUNT, COUNT)]

    database.change_locale(OF_DEBIAN)
    eventually(lambda: all(stack.is_ready(name) for name in stack.processes), 30)
    again = {name: order(stack, name, product) for name, product in products.items()}
    assert {name: response.json() for name, response in again.items()} == {
        name: response.json() for name, response in first.items()
    }
    assert {response.headers.get("Idempotency-Replayed") for response in again.values()} == {"true"}
    assert {make_product(stack, name).status_code for name in products} == {409}
    eventually(lambda: query(database.url, is_settled) == [(True,)], 60)
    assert query(database.url, EFFECTS) == [(COUNT, COUNT, COUNT)]
    assert violations(database.url) == {}
