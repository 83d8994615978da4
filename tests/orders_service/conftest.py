"""The orders service on the test run's database."""

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
from domain.ids import order_id_for
from orders_service.app import create_app
from tests import credentials


class Orders:
    """The service's calls, as a client makes them. Thread-safe."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    @property
    def client(self) -> FlaskClient:
        return self._app.test_client()

    def body(self, ledger_id: str | None = None, **changes: Any) -> dict[str, Any]:
        items = [
            {"product_id": str(uuid.UUID(int=9)), "quantity": 2, "unit_price_cents": 2999},
            {"product_id": str(uuid.UUID(int=5)), "quantity": 1, "unit_price_cents": 1},
        ]
        return {
            "order_ledger_id": ledger_id or str(uuid.uuid4()),
            "user_id": str(uuid.UUID(int=3)),
            "total_amount_cents": 5999,
            "currency": "USD",
            "items": items,
            **changes,
        }

    def create(self, ledger_id: str | None = None, **changes: Any) -> TestResponse:
        return self.client.post("/orders", json=self.body(ledger_id, **changes))

    def new(self) -> str:
        """Create an order. :returns: its id"""
        answer = self.create()
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["id"])

    def get(self, order_id: str) -> TestResponse:
        return self.client.get(f"/orders/{order_id}")

    def confirm(self, order_id: str) -> TestResponse:
        return self.client.put(f"/orders/{order_id}/confirm")

    def cancel(self, order_id: str) -> TestResponse:
        return self.client.put(f"/orders/{order_id}/cancel")


@pytest.fixture(scope="session")
def orders_app(migrated_url: str) -> Flask:
    settings = {"DATABASE_URL": migrated_url, "WEB_THREADS": "16", "LOG_LEVEL": "ERROR", **credentials.SETTINGS}
    return create_app(Settings.load(settings))


@pytest.fixture
def orders(orders_app: Flask, url: str) -> Orders:
    return Orders(orders_app)


@pytest.fixture
def never_seen() -> tuple[str, str]:
    """The ids of an unknown ledger entry and of the order it would lead to."""
    ledger_id = str(uuid.uuid4())
    return ledger_id, order_id_for(ledger_id)


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
