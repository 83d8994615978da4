"""The Edge API as a shop sees it, with a real PostgreSQL and the real inventory and payments services."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
import responses
from flask import Flask
from werkzeug.test import TestResponse

import inventory_service.app
import payments_service.app
from common.process.settings import Settings
from edge_api.app import create_app
from tests import credentials
from tests.edge_api.neighbours import Neighbour
from tests.severable import Severable

PRICE_CENTS = 1250
USER_ID = "7b9d2c2e-1111-4222-8333-123456789abc"

# How the orchestrator closes an abandoned request: it claims and marks the entry, voids the hold, and ends the entry.
MARK_ABANDONED = """
UPDATE order_ledger SET failure_code = 'abandoned', failure_message = 'Closed.', claim_number = claim_number + 1,
  claimed_by = 'orchestrator', claimed_until = now() + interval '30 s', due_at = now() + interval '30 s'
"""
CLOSE_ABANDONED = """
UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED', claimed_by = NULL, claimed_until = NULL, due_at = NULL
"""


class Shop:
    """A shop's back end, which places and reads orders. Thread-safe."""

    def __init__(self, app: Flask, product_id: str, **headers: str) -> None:
        self.app, self.product_id, self.headers = app, product_id, headers

    def order_body(self, *, token: str = "tok_visa", quantity: int = 2, **changes: Any) -> dict[str, Any]:
        return {
            "user_id": USER_ID,
            "email": "a@b.example",
            "items": [{"product_id": self.product_id, "quantity": quantity}],
            "payment": {"method": "card", "token": token},
            **changes,
        }

    def order(self, key: str | None = "key-1", **changes: Any) -> TestResponse:
        """Post an order; `changes` as in `order_body`."""
        return self.post(key, json=self.order_body(**changes))

    def post(self, key: str | None = "key-1", headers: dict[str, str] | None = None, **content: Any) -> TestResponse:
        named = {} if key is None else {"Idempotency-Key": key}
        return self.app.test_client().post("/orders", headers={**self.headers, **named, **(headers or {})}, **content)

    def get(self, order_ledger_id: str, **query: Any) -> TestResponse:
        return self.app.test_client().get(f"/orders/{order_ledger_id}", query_string=query, headers=self.headers)


@pytest.fixture(scope="session")
def service_settings(migrated_url: str) -> Settings:
    return Settings.load(
        {"DATABASE_URL": migrated_url, "LOG_LEVEL": "WARNING", "WEB_THREADS": "20", **credentials.SETTINGS}
    )


@pytest.fixture(scope="session")
def inventory_app(service_settings: Settings) -> Flask:
    return inventory_service.app.create_app(service_settings)


@pytest.fixture(scope="session")
def payments_app(service_settings: Settings) -> Flask:
    return payments_service.app.create_app(service_settings)


@pytest.fixture(scope="session")
def edge_app(service_settings: Settings) -> Flask:
    return create_app(service_settings)


@pytest.fixture
def inventory(inventory_app: Flask) -> Neighbour:
    return Neighbour(inventory_app)


@pytest.fixture
def payments(payments_app: Flask) -> Neighbour:
    return Neighbour(payments_app)


@pytest.fixture(autouse=True)
def network(inventory: Neighbour, payments: Neighbour) -> Iterator[None]:
    """Both services respond at their addresses; no other address does."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in ("GET", "POST", "PATCH"):
            mock.add_callback(method, re.compile(r"http://127\.0\.0\.1:8200/"), callback=inventory)
        mock.add_callback("POST", re.compile(r"http://127\.0\.0\.1:8300/"), callback=payments)
        yield


@pytest.fixture
def add_product(url: str, inventory_app: Flask) -> Callable[..., str]:
    """`add_product(price_cents=5, currency="EUR")` → the new product's id."""

    def add(price_cents: int = PRICE_CENTS, currency: str = "USD") -> str:
        body = {"name": "Widget", "sku": uuid.uuid4().hex, "price_cents": price_cents, "currency": currency}
        return str(inventory_app.test_client().post("/inventory/products", json=body).json["id"])

    return add


@pytest.fixture
def shop(edge_app: Flask, add_product: Callable[..., str]) -> Shop:
    return Shop(edge_app, add_product())


@pytest.fixture
def shop_with(settings: Callable[..., Settings], add_product: Callable[..., str]) -> Callable[..., Shop]:
    """`shop_with(LEASE_S=…)`: a shop of another instance with these settings."""
    return lambda **environ: Shop(create_app(settings(**environ)), add_product())


@pytest.fixture
def severable(url: str) -> Iterator[Severable]:
    way = Severable(url)
    yield way
    way.stop()


@pytest.fixture
def sql(url: str) -> Callable[..., list[dict[str, Any]]]:
    """Run one statement on its own connection: `sql("SELECT …")` → rows."""

    def run(statement: str, **params: Any) -> list[dict[str, Any]]:
        rows = psycopg2.extras.RealDictCursor
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor(cursor_factory=rows) as cursor:
            cursor.execute(statement, params)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    return run


@pytest.fixture
def count(sql: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[int]]:
    """How many rows these tables have: `count("order_ledger", "outbox")` → `[1, 0]`."""
    return lambda *tables: [sql(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables]


@pytest.fixture
def entry(sql: Callable[..., list[dict[str, Any]]]) -> Callable[[], dict[str, Any]]:
    """The only entry of the ledger. Fails if there are two."""

    def read() -> dict[str, Any]:
        (row,) = sql("SELECT * FROM order_ledger")
        return row

    return read


@pytest.fixture
def end_lease(sql: Callable[..., list[dict[str, Any]]]) -> Callable[[], None]:
    """End the lease, as if more time had passed than any request can take."""
    return lambda: sql(
        "UPDATE order_ledger SET claimed_until = now() - interval '1 second' WHERE claimed_by IS NOT NULL"
    )


@pytest.fixture(params=["marked", "closed"])
def sweep(request: pytest.FixtureRequest, sql: Callable[..., list[dict[str, Any]]]) -> Callable[[], None]:
    """Let the orchestrator begin to close the abandoned request, or finish closing it."""

    def close() -> None:
        sql(MARK_ABANDONED)
        if request.param == "closed":
            sql(CLOSE_ABANDONED)

    return close


@pytest.fixture
def notified(url: str) -> Iterator[Callable[[], int]]:
    """The number of notifications that an orchestrator would have received so far."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("LISTEN order_events")

            def look() -> int:
                cursor.execute("SELECT 1")  # notifications arrive with the answer
                connection.poll()
                return len(connection.notifies)

            yield look


@pytest.fixture
def in_background(payments: Neighbour) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads
        payments.let_go()


@pytest.fixture
def shop_of(url, shop_with):
    """`shop_of("alice")`: a shop with a new key of that client; `scopes=` as of the key."""
    at = shop_with()

    def make(client, at=at, **options):
        key = credentials.new_key()
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            credentials.add_key(cursor, key, client, **options)
        return Shop(at.app, at.product_id, **credentials.edge_headers(key))

    return make
