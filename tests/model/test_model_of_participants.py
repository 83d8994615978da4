"""The models of the participants answer as the real services do: every request, in every state that requests lead to.

A state is reached again for each comparison, with a new order, on the real applications and the real PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import inventory_service.app
import orders_service.app
import payments_service.app
from common.calls.client import Answer, ServiceClient
from common.database.database import Database
from common.process.settings import Settings
from domain.ids import new_order_ledger_id
from edge_api.services import Services
from orchestrator import abandoned, participants
from orchestrator.entries import saga_of
from orchestrator.saga import Saga
from payments_service.errors import AlreadyCaptured
from tests import credentials
from tests.model.books import Books, refused
from tests.model.explore import Model, Step, explore
from tests.model.ledger import PRICE, PRODUCT, Entry, row_of
from tests.model.network import Asked, Request, Response, Script
from tests.model.participants import handle

PAYMENT = "auth_" + "0" * 23 + "1"
"""The id of the model's first payment. The real one has another."""
CARDS = ("tok_visa", "tok_decline_expired", "tok_fail_capture")
READ = ("current_status", "attempted_status", "order_id", "decline_code", "requested", "available")
"""The details of a refusal that the model has."""
CAPTURED = [refused(AlreadyCaptured(capture_id="cap"))]
NEEDS_PAYMENT = ("capture", "void", "refund")
Requests = dict[str, Request]
Apps = dict[str, Flask]


def sent_by(action: Callable[..., Answer], service: str, saga: Saga, responses: list[Any] | None = None) -> Request:
    """The request of a real action, which is sent when these responses have been read."""
    try:
        action(Script(service, list(responses or [])), saga)
    except Asked as asked:
        return asked.request
    raise AssertionError(f"{action} sends nothing")


def authorize(payments: ServiceClient, saga: Saga, card: str) -> Answer:
    guarded: Any = payments
    return Services(inventory=guarded, payments=guarded).authorize(row_of(Entry(saga.id)), card)


def payment_requests(saga: Saga) -> Requests:
    return {
        **{card: sent_by(partial(authorize, card=card), "payments", saga) for card in CARDS},
        "capture": sent_by(participants.capture_payment, "payments", saga),
        "void": sent_by(participants.void_payment, "payments", saga),
        "refund": sent_by(participants.void_payment, "payments", saga, CAPTURED),
        "void by key": sent_by(abandoned.void_abandoned_authorization, "payments", saga),
    }


def order_requests(saga: Saga) -> Requests:
    create = sent_by(participants.create_order, "orders", saga)
    return {
        "create": create,
        "create another": create._replace(body=create.body.replace(str(PRICE), str(PRICE + 1))),
        "confirm": sent_by(participants.confirm_order, "orders", saga),
        "cancel": sent_by(participants.cancel_order, "orders", saga),
    }


def inventory_requests(saga: Saga, other: Saga) -> Requests:
    requests = {}
    for name, each in (("one", saga), ("other", other)):
        requests[f"reserve {name}"] = sent_by(participants.reserve_inventory, "inventory", each)
        requests[f"release {name}"] = sent_by(participants.release_inventory, "inventory", each)
    reserve = requests["reserve one"]
    return {**requests, "reserve more": reserve._replace(body=reserve.body.replace('"quantity":1', '"quantity":2'))}


REQUESTS: dict[str, tuple[int, Callable[..., Requests]]] = {
    "payments": (1, payment_requests),
    "orders": (1, order_requests),
    "inventory": (2, inventory_requests),
}
"""For each service, of how many orders its requests are, and the requests."""


def a_saga() -> Saga:
    return saga_of(row_of(Entry(new_order_ledger_id(), payment=PAYMENT)))


def can_be_sent(name: str, books: Books) -> bool:
    """Nobody knows the id of a payment that was not authorized."""
    return name not in NEEDS_PAYMENT or any(payment.id == PAYMENT and payment.amount for payment in books.payments)


def ways(requests: Requests) -> Iterator[tuple[str, ...]]:
    """For every state and every request: the shortest way to the state, and the request."""
    way: dict[Books, tuple[str, ...]] = {Books(1, 1): ()}

    def steps(books: Books) -> Iterator[Step]:
        for name in requests:
            if can_be_sent(name, books):
                after, _ = handle(books, requests[name])
                way.setdefault(after, (*way[books], name))
                yield Step(name, after)

    for books in explore(Model(Books(1, 1), steps)).states:
        yield from ((*way[books], name) for name in requests if can_be_sent(name, books))


@pytest.fixture(scope="module")
def apps(migrated_url: str) -> Apps:
    settings = Settings.load({"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS})
    modules = {"orders": orders_service.app, "inventory": inventory_service.app, "payments": payments_service.app}
    return {name: module.create_app(settings) for name, module in modules.items()}


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=1)
    database.one(
        "INSERT INTO products (id, sku, name, price_cents, currency, stock_quantity)"
        " VALUES (%(id)s, 'model', 'Model', %(price)s, 'USD', 1)",
        id=PRODUCT, price=PRICE,
    )  # fmt: skip
    yield database
    database.close()


@pytest.mark.parametrize("service", REQUESTS)
def test_every_request_in_every_state_has_the_real_answer(service: str, apps: Apps, database: Database) -> None:
    orders, requests_of = REQUESTS[service]
    compared = 0
    for way in ways(requests_of(*(a_saga() for _ in range(orders)))):
        database.one("UPDATE products SET stock_quantity = 1")
        compare(way, requests_of(*(a_saga() for _ in range(orders))), apps[service], database)
        compared += 1
    assert compared > len(REQUESTS)


def compare(way: tuple[str, ...], requests: Requests, app: Flask, database: Database) -> None:
    """Send the requests of a way to the model and to the service, and compare each answer and the stock."""
    books, payment = Books(1, 1), PAYMENT
    for name in way:
        books, response = handle(books, requests[name])
        real = send(app, requests[name], payment)
        payment = body(real).get("authorization_id") or payment
        assert (response.status, said(response, PAYMENT)) == (real.status_code, heard(real, response, payment)), way
        row = database.one("SELECT stock_quantity FROM products")
        assert row == {"stock_quantity": books.stock}, way


def send(app: Flask, request: Request, payment: str) -> TestResponse:
    path = request.path.replace(PAYMENT, payment)
    return app.test_client().open(path, method=request.method, data=request.body, content_type="application/json")


def body(real: TestResponse) -> dict[str, Any]:
    sent: dict[str, Any] = real.get_json()
    return sent


def said(response: Response, payment: str) -> dict[str, Any]:
    """The fields of the model's response."""
    return _compared(json.loads(response.body), payment)


def heard(real: TestResponse, response: Response, payment: str) -> dict[str, Any]:
    """The same fields of the real response."""
    wanted = json.loads(response.body)
    return _compared({name: body(real).get(name, {} if name == "details" else None) for name in wanted}, payment)


def _compared(body: dict[str, Any], payment: str) -> dict[str, Any]:
    if "error" in body:
        details = {name: value for name, value in body["details"].items() if name in READ}
        return {"error": body["error"], "details": details}
    return {name: "its id" if value == payment else value for name, value in body.items()}
