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
from domain.ids import new_order_ledger_id, new_refund_id
from edge_api.services import Services
from orchestrator import abandoned, participants, refund_calls, refund_entries
from orchestrator.entries import saga_of
from orchestrator.saga import Saga
from payments_service.errors import AlreadyCaptured
from tests import credentials
from tests.model import refunds
from tests.model.books import Books, refused
from tests.model.explore import Model, Step, explore
from tests.model.ledger import PIECES, PRICE, PRODUCT, Entry, row_of
from tests.model.network import Asked, Request, Response, Script
from tests.model.participants import handle
from tests.model.payments import SETTLE
from tests.model.refunds import Refund

PAYMENT = "auth_" + "0" * 23 + "1"
"""The id of the model's first payment. The real one has another."""
CARDS = ("tok_visa", "tok_decline_expired", "tok_fail_capture")
REFUND_CARDS = ("tok_visa", "tok_fail_refund", "tok_pending_refund")
READ = ("current_status", "attempted_status", "order_id", "decline_code", "requested", "available")
"""The details of a refusal that the model has."""
CAPTURED = [refused(AlreadyCaptured(capture_id="cap"))]
NEEDS_PAYMENT = ("capture", "void", "refund", "refund some", "refund the rest")
BEGIN = Books(PIECES, PIECES)
Requests = dict[str, Request]
Apps = dict[str, Flask]


def sent_by(action: Callable[..., Any], service: str, saga: Saga, responses: list[Any] | None = None) -> Request:
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


def refund_of(saga: Saga, amount: int = PRICE, pieces: int = PIECES) -> Saga:
    """A refund of this order."""
    refund = Refund(new_refund_id(), 0, amount, pieces, is_restocked=True, payment=PAYMENT)
    return refund_entries.refund_of({**refunds.row_of(refund), "order_ledger_id": saga.id})


def refund_requests(saga: Saga) -> Requests:
    return {
        **{card: sent_by(partial(authorize, card=card), "payments", saga) for card in REFUND_CARDS},
        "capture": sent_by(participants.capture_payment, "payments", saga),
        "refund some": sent_by(refund_calls.refund_payment, "payments", refund_of(saga, amount=400)),
        "refund the rest": sent_by(refund_calls.refund_payment, "payments", refund_of(saga, amount=PRICE - 400)),
        "settle": Request("payments", "POST", SETTLE, ""),
    }


def restock_requests(saga: Saga) -> Requests:
    restock = sent_by(refund_calls.restock, "inventory", refund_of(saga))
    return {
        "reserve": sent_by(participants.reserve_inventory, "inventory", saga),
        "restock": restock,
        "restock fewer": restock._replace(body=restock.body.replace(f'"quantity":{PIECES}', '"quantity":1')),
        "restock for another refund": sent_by(refund_calls.restock, "inventory", refund_of(saga, pieces=1)),
    }


def order_requests(saga: Saga) -> Requests:
    create = sent_by(participants.create_order, "orders", saga)
    return {
        "create": create,
        "create another": create._replace(body=create.body.replace("USD", "EUR")),
        "confirm": sent_by(participants.confirm_order, "orders", saga),
        "cancel": sent_by(participants.cancel_order, "orders", saga),
    }


def inventory_requests(saga: Saga, other: Saga) -> Requests:
    requests = {}
    for name, each in (("one", saga), ("other", other)):
        requests[f"reserve {name}"] = sent_by(participants.reserve_inventory, "inventory", each)
        requests[f"release {name}"] = sent_by(participants.release_inventory, "inventory", each)
    reserve = requests["reserve one"]
    return {
        **requests,
        "reserve more": reserve._replace(body=reserve.body.replace(f'"quantity":{PIECES}', '"quantity":3')),
    }


REQUESTS: dict[str, tuple[str, int, Callable[..., Requests]]] = {
    "payments": ("payments", 1, payment_requests),
    "refunds": ("payments", 1, refund_requests),
    "orders": ("orders", 1, order_requests),
    "inventory": ("inventory", 2, inventory_requests),
    "restocks": ("inventory", 1, restock_requests),
}
"""The service, of how many orders its requests are, and the requests."""


def a_saga() -> Saga:
    return saga_of(row_of(Entry(new_order_ledger_id(), payment=PAYMENT)))


def can_be_sent(name: str, books: Books) -> bool:
    """Nobody knows the id of a payment that was not authorized."""
    return name not in NEEDS_PAYMENT or any(payment.id == PAYMENT and payment.amount for payment in books.payments)


def ways(requests: Requests) -> Iterator[tuple[str, ...]]:
    """For every state and every request: the shortest way to the state, and the request."""
    way: dict[Books, tuple[str, ...]] = {BEGIN: ()}

    def steps(books: Books) -> Iterator[Step]:
        for name in requests:
            if can_be_sent(name, books):
                after, _ = handle(books, requests[name])
                way.setdefault(after, (*way[books], name))
                yield Step(name, after)

    for books in explore(Model(BEGIN, steps)).states:
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


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_in_every_state_has_the_real_answer(name: str, apps: Apps, database: Database) -> None:
    service, orders, requests_of = REQUESTS[name]
    compared = 0
    for way in ways(requests_of(*(a_saga() for _ in range(orders)))):
        database.one("UPDATE products SET stock_quantity = %(pieces)s", pieces=PIECES)
        compare(way, requests_of(*(a_saga() for _ in range(orders))), apps[service], database)
        compared += 1
    assert compared > len(REQUESTS)


def compare(way: tuple[str, ...], requests: Requests, app: Flask, database: Database) -> None:
    """Send the requests of a way to the model and to the service, and compare each answer and the stock."""
    books, payment = BEGIN, PAYMENT
    for name in way:
        books, response = handle(books, requests[name])
        real = send(app, requests[name], payment)
        payment = body(real).get("authorization_id") or payment
        assert (response.status, said(response, PAYMENT)) == (real.status_code, heard(real, response, payment)), way
        row = database.one("SELECT stock_quantity FROM products")
        assert row == {"stock_quantity": books.stock}, way


def test_restock_of_a_product_that_is_gone_has_the_real_answer(apps: Apps, database: Database) -> None:
    database.one("DELETE FROM products")
    request = restock_requests(a_saga())["restock"]
    books, response = handle(BEGIN._replace(is_gone=True), request)
    real = send(apps["inventory"], request, PAYMENT)
    assert (response.status, said(response, PAYMENT)) == (real.status_code, heard(real, response, PAYMENT))
    assert books.replies == ()


def send(app: Flask, request: Request, payment: str) -> TestResponse:
    path = request.path.replace(PAYMENT, payment)
    headers = {"Idempotency-Key": request.key} if request.key else {}
    return app.test_client().open(
        path, method=request.method, data=request.body, content_type="application/json", headers=headers
    )


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
