"""Row 56: a new release reads bodies differently while orders are in flight. Required: a request keeps its fingerprint.

release_0_1/ has the rows that release 0.1 wrote and the requests that it answered: orders in every state, each with its
last answer lost, so that each call is repeated after the upgrade.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
from flask import Flask
from marshmallow import fields

import inventory_service.app
import inventory_service.routes
import orders_service.app
import orders_service.routes
import payments_service.app
import payments_service.routes
from common.api.routes import Api
from common.process.settings import Settings
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests import credentials
from tests.books import violations
from tests.system.stack import WEB_PROCESSES, Stack
from tests.waiting import eventually

RELEASE_0_1 = Path(__file__).parent / "release_0_1"
SENT = json.loads((RELEASE_0_1 / "requests.json").read_text())
ENDED = {
    "accepted": "COMPLETED",
    "in other words": "COMPLETED",
    "unanswered": "COMPLETED",
    "created": "COMPLETED",
    "reserved": "COMPLETED",
    "captured": "COMPLETED",
    "refunded": "FAILED",
    "declined": "AUTHORIZATION_FAILED",
}


@pytest.fixture
def upgraded(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database that release 0.1 left with orders in flight, after the migrations."""
    sql(postgres.url, "CREATE DATABASE of_0_1_in_flight")
    url = postgres.url.replace("/holdfast?", "/of_0_1_in_flight?")
    migrate.upgrade(url, "holdfast_0005")
    sql(url, "SET session_replication_role = replica; " + (RELEASE_0_1 / "rows.sql").read_text())
    migrate.upgrade(url)
    yield url
    sql(postgres.url, "DROP DATABASE of_0_1_in_flight WITH (FORCE)")


def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_orders_in_flight_and_repeats_survive_the_upgrade(upgraded: str, tmp_path: Path) -> None:
    stored = dict(sql(upgraded, "SELECT client_request_id, response_body FROM order_ledger"))
    stored |= dict(sql(upgraded, "SELECT client_request_id, response_body FROM refused_requests"))
    former = credentials.new_key()  # 0.1 had no keys: all of its orders belong to this client
    credentials.add_key_at(upgraded, key=former, client="anonymous")
    with Stack(upgraded, tmp_path) as stack:
        stack.start(*WEB_PROCESSES)
        for key, body in SENT["orders"].items():
            headers = {"Idempotency-Key": key, **credentials.edge_headers(former)}
            answer = requests.post(f"{stack.url('web')}/orders", json=body, headers=headers, timeout=60)
            assert answer.json().get("error") != "idempotency_key_reused", key
            assert stored[key] in (None, answer.text), key
        for path, body in SENT["payments"].items():
            answer = requests.post(stack.url("payments_service") + path, json=body, timeout=60)
            assert (answer.status_code, answer.headers.get("Idempotency-Replayed")) == (200, "true"), path
        stack.start("orchestrator.1")
        eventually(lambda: sql(upgraded, "SELECT count(*) FROM order_ledger WHERE due_at IS NOT NULL") == [(0,)])
    assert dict(sql(upgraded, "SELECT client_request_id, status FROM order_ledger")) == ENDED
    assert violations(upgraded) == {}


ID = "11111111-1111-4111-8111-111111111111"
USER_ID = "7b9d2c2e-1111-4222-8333-123456789abc"
LINE = {"product_id": ID, "quantity": 1, "unit_price_cents": 5}
KEYED = {"idempotency_key": "k"}
HOLD = {"user_id": USER_ID, "amount_cents": 100, "currency": "USD", "payment_token": "tok_visa"}


class Participants:
    """The three participants; `add_field` is the next release of one of them."""

    def __init__(self, settings: Settings) -> None:
        self.orders = orders_service.app.create_app(settings)
        self.inventory = inventory_service.app.create_app(settings)
        self.payments = payments_service.app.create_app(settings)
        product = {"name": "Widget", "sku": "W", "price_cents": 5, "initial_stock": 9}
        self.product_id = self.post(self.inventory, "/inventory/products", product).json["id"]
        self.holds = [self.hold(f"hold {number}") for number in range(3)]
        capture = f"/payments/capture/{self.holds[1]}"
        assert self.post(self.payments, capture, {"idempotency_key": "c"}).status_code == 200

    def post(self, app: Flask, path: str, body: dict[str, Any]) -> Any:
        return app.test_client().post(path, json=body, headers={"Idempotency-Key": "k"})

    def hold(self, key: str) -> str:
        return str(
            self.post(self.payments, "/payments/authorize", HOLD | {"idempotency_key": key}).json["authorization_id"]
        )

    def calls(self) -> Iterator[tuple[Api, Flask, str, str, dict[str, Any]]]:
        """Each call that has a fingerprint: its API, its service, the name of its view, its path and its body."""
        order = {"order_ledger_id": ID, "user_id": USER_ID, "total_amount_cents": 5, "currency": "USD", "items": [LINE]}
        yield orders_service.routes.api, self.orders, "create_order", "/orders", order
        stock = {"quantity": 1, "reason": "correction"}
        inventory = inventory_service.routes.api, self.inventory
        yield *inventory, "change_stock", f"/inventory/products/{self.product_id}/stock", stock
        reservation = {"order_id": ID, "items": [{"product_id": self.product_id, "quantity": 1}]}
        yield *inventory, "reserve", "/inventory/reservations", reservation
        payments = payments_service.routes.api, self.payments
        yield *payments, "authorize", "/payments/authorize", HOLD | KEYED
        yield *payments, "capture", f"/payments/capture/{self.holds[0]}", KEYED
        yield *payments, "refund", f"/payments/refund/{self.holds[1]}", KEYED
        yield *payments, "void", f"/payments/void/{self.holds[2]}", KEYED
        yield *payments, "void_by_key", "/payments/void", KEYED | {"authorization_key": "never seen"}


def add_field(api: Api, view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add an optional field with a default, as a next release may."""
    (schema,) = [operation.body for operation in api.operations if operation.view.__name__ == view]
    assert schema
    if view == "reserve":  # in a line: a field next to the lines would have to be an argument of the operation
        schema = schema.fields["items"].inner.schema
    new = fields.String(load_default="a default of the next release")
    new._bind_to_schema("new", schema)
    monkeypatch.setitem(schema.load_fields, "new", new)


def test_a_new_field_with_a_default_changes_no_fingerprint(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    participants = Participants(settings())
    for api, app, view, path, body in participants.calls():
        first = participants.post(app, path, body)
        assert first.status_code in (200, 201), (view, first.json)
        add_field(api, view, monkeypatch)
        again = participants.post(app, path, body)
        assert (again.status_code < 300, again.headers.get("Idempotency-Replayed")) == (True, "true"), (
            view,
            again.json,
        )
        assert again.json == first.json, view
