"""Operators with each role at one console, and the inventory service behind it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses
from flask import Flask

from inventory_service.app import create_app
from tests.console.desk import Desk
from tests.edge_api.neighbours import HttpAnswer, Neighbour

KEY = re.compile(r'name="key" value="([^"]+)"')


class Inventory(Neighbour):
    """The real inventory service. It sees the console's own token."""

    def _deliver(self, request: requests.PreparedRequest) -> HttpAnswer:
        answer = self._app.test_client().open(
            request.path_url, method=request.method, data=request.body, headers=dict(request.headers)
        )
        return answer.status_code, dict(answer.headers), answer.data


def key_of_page(desk: Desk, path: str) -> str:
    """The key that the forms of a page carry."""
    found = KEY.search(desk.get(path).text)
    assert found
    return found[1]


@pytest.fixture
def inventory(settings: Callable[..., Any]) -> Iterator[Inventory]:
    """The inventory service at its address. No other address answers."""
    service = Inventory(create_app(settings(WEB_THREADS="8")))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in ("GET", "POST", "PATCH"):
            mock.add_callback(method, re.compile(r"http://127\.0\.0\.1:8200/"), callback=service)
        yield service
    service.let_go()


@pytest.fixture
def viewer(console_app: Flask, key: Callable[..., str]) -> Desk:
    return Desk(console_app, key("viewer", name="vera"))


@pytest.fixture
def operator(console_app: Flask, key: Callable[..., str]) -> Desk:
    return Desk(console_app, key("operator", name="olga"))


@pytest.fixture
def admin(console_app: Flask, key: Callable[..., str]) -> Desk:
    return Desk(console_app, key("admin", name="ada"))


@pytest.fixture
def record(sql: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    """`record("products.")`: what this test has added about actions that begin so, oldest first.

    Nothing can empty the record.
    """
    (start,) = sql("SELECT clock_timestamp() AS at")
    select = (
        "SELECT actor, action, details FROM operator_log WHERE at > %(at)s AND action LIKE %(like)s ORDER BY at, id"
    )
    return lambda prefix: sql(select, at=start["at"], like=f"{prefix}%")


@pytest.fixture
def add_product(sql: Callable[..., list[dict[str, Any]]]) -> Callable[..., str]:
    """`add_product("sku-1", stock=5)` → the id of a new product."""

    def add(sku: str = "", *, name: str = "Widget", stock: int = 5, price_cents: int = 1250) -> str:
        id_ = str(uuid.uuid4())
        sql(
            "WITH product AS (INSERT INTO products (id, sku, name, price_cents, stock_quantity)"
            " VALUES (%(id)s, %(sku)s, %(name)s, %(price_cents)s, %(stock)s) RETURNING id)"
            " INSERT INTO inventory_adjustments (id, product_id, quantity, reason)"
            " SELECT gen_random_uuid(), %(id)s, %(stock)s, 'initial_stock' FROM product WHERE %(stock)s > 0",
            id=id_, sku=sku or id_[:8], name=name, price_cents=price_cents, stock=stock,
        )  # fmt: skip
        return id_

    return add
