"""Row 55: the buyer names the currency. Required: each price has a currency, and an order uses that of its products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests.faults.shared_stack import SharedStack

OLD_INSERT = """
INSERT INTO products (id, sku, name, price_cents, stock_quantity)
VALUES (gen_random_uuid(), %(sku)s, 'Widget', 129900, 0)
"""


def test_the_buyer_cannot_choose_a_cheaper_currency(stack: SharedStack) -> None:
    product = stack.product(price_cents=129_900)
    for currency in ("IDR", "VND", "KWD"):
        answer = stack.post_order(f"in {currency}", product, currency=currency)
        assert (answer.status_code, answer.json()["error"]) == (400, "currency_mismatch")
        assert answer.json()["details"] == {"product_ids": [product]}
    assert stack.by_status() == {}
    assert stack.post_order("in USD", product, currency="USD").status_code == 202
    stack.settle()
    assert stack.sql("SELECT currency, captured_amount_cents FROM payment_authorizations") == [("USD", 129_900)]


def test_an_order_is_charged_in_the_currency_of_its_products(stack: SharedStack) -> None:
    euro, dollar = stack.product(currency="EUR"), stack.product()
    mixed = stack.post_order("k", euro, items=[{"product_id": each, "quantity": 1} for each in (euro, dollar)])
    assert (mixed.status_code, mixed.json()["error"]) == (400, "currency_mismatch")
    assert mixed.json()["details"] == {"product_ids": [dollar]}
    assert stack.post_order("k", euro).json()["currency"] == "EUR"
    stack.settle()
    for table in ("order_ledger", "orders", "payment_authorizations"):
        assert stack.sql(f"SELECT currency FROM {table}") == [("EUR",)], table


def test_the_default_currency_is_a_setting(stack: SharedStack) -> None:
    stack.restart("inventory_service", CURRENCY="JPY")
    product = stack.product()
    assert stack.post_order("k", product).json()["currency"] == "JPY"
    stack.settle()


@pytest.fixture
def old_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database as release 0.1 leaves it."""
    run(postgres.url, "CREATE DATABASE of_0_1")
    url = postgres.url.replace("/holdfast?", "/of_0_1?")
    migrate.upgrade(url, "holdfast_0005")
    yield url
    run(postgres.url, "DROP DATABASE of_0_1 WITH (FORCE)")


def run(url: str, statement: str, **params: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []


def test_products_from_before_the_upgrade_are_in_the_default_currency(
    old_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(old_url, OLD_INSERT, sku="before")
    file = run(old_url, "SELECT pg_relation_filenode('products')")
    monkeypatch.setenv("CURRENCY", "EUR")
    migrate.upgrade(old_url)
    assert run(old_url, "SELECT pg_relation_filenode('products')") == file, "the table was rewritten under its lock"
    run(old_url, OLD_INSERT, sku="while old processes still run")
    assert run(old_url, "SELECT DISTINCT currency, is_active FROM products") == [("EUR", True)]
