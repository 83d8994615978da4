"""The inventory service on the test run's database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.process.settings import Settings
from inventory_service.app import create_app
from tests import credentials

# The invariant for each product. Each row is a violation.
UNBALANCED = """
SELECT sku, stock_quantity, adjusted, reserved FROM products,
    LATERAL (SELECT coalesce(sum(quantity), 0) FROM inventory_adjustments
        WHERE product_id = products.id) AS a (adjusted),
    LATERAL (SELECT coalesce(sum(quantity), 0) FROM inventory_reservations
        WHERE product_id = products.id AND released_at IS NULL) AS r (reserved)
WHERE stock_quantity <> adjusted - reserved OR stock_quantity < 0
"""

# Released orders with live lines, and reserved orders without.
HALF_RELEASED = """
SELECT order_id, status FROM order_reservations AS reservation
WHERE (status = 'RESERVED') <> EXISTS (SELECT FROM inventory_reservations AS line
    WHERE line.order_id = reservation.order_id AND line.released_at IS NULL)
"""


class Inventory:
    """The service's calls, as a client makes them. Thread-safe."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    @property
    def client(self) -> FlaskClient:
        return self._app.test_client()

    def product(self, stock: int = 0, **changes: Any) -> str:
        """Create a product. :returns: its id"""
        body = {"name": "Widget", "sku": uuid.uuid4().hex, "price_cents": 999, "initial_stock": stock, **changes}
        answer = self.client.post("/inventory/products", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["id"])

    def stock(self, product_id: str) -> int:
        return int(self.client.get(f"/inventory/products/{product_id}/availability").get_json()["stock_quantity"])

    def change(
        self, product_id: str, quantity: Any, reason: str = "correction", key: str | None = None
    ) -> TestResponse:
        return self.client.post(
            f"/inventory/products/{product_id}/stock",
            json={"quantity": quantity, "reason": reason},
            headers={"Idempotency-Key": key or str(uuid.uuid4())},
        )

    def reserve(self, order_id: str, lines: dict[str, int]) -> TestResponse:
        items = [{"product_id": product, "quantity": quantity} for product, quantity in lines.items()]
        return self.client.post("/inventory/reservations", json={"order_id": order_id, "items": items})

    def release(self, order_id: str) -> TestResponse:
        return self.client.delete(f"/inventory/reservations/{order_id}")


@pytest.fixture(scope="session")
def inventory_app(migrated_url: str) -> Flask:
    settings = {"DATABASE_URL": migrated_url, "WEB_THREADS": "16", "LOG_LEVEL": "ERROR", **credentials.SETTINGS}
    return create_app(Settings.load(settings))


@pytest.fixture
def inventory(inventory_app: Flask, url: str) -> Inventory:
    return Inventory(inventory_app)


@pytest.fixture
def client(inventory: Inventory) -> FlaskClient:
    return inventory.client


@pytest.fixture
def sql(url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Query the tables: `sql("SELECT …")` → rows."""
    connection = psycopg2.connect(url)
    connection.autocommit = True

    def query(text: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []

    yield query
    connection.close()


@pytest.fixture
def balanced(sql: Callable[..., list[tuple[Any, ...]]]) -> Callable[[], bool]:
    """Whether the books balance: stock = Σ adjustments − Σ live reservations ≥ 0."""
    return lambda: sql(UNBALANCED) == sql(HALF_RELEASED) == []
