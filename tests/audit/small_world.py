"""The complete system in one process: the real applications and engine on a real database; only the network is fake.

This lets the audit run between any two commits of an order, whatever its outcome.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import requests
import responses
from flask import Flask
from werkzeug.test import TestResponse

import edge_api.app
import inventory_service.app
import orders_service.app
import payments_service.app
from common.calls.client import ServiceClient
from common.database.database import Database
from common.process.settings import Settings
from orchestrator.definitions import AnyStatus
from orchestrator.engine import Engine
from orchestrator.entries import ORDERS, REFUNDS, Entries
from orchestrator.participants import Participant, Participants
from orchestrator.saga import RetryPolicy, Saga
from orchestrator.store import Store
from tests import credentials
from tests.waiting import eventually

SETTINGS = {
    "APP_ENV": "test",
    "LOG_LEVEL": "ERROR",
    "RETRY_BASE_S": "0.001",
    "ABANDONED_AFTER_S": "0.05",
    "LEASE_S": "0.2",
}
POLICY = RetryPolicy(base_s=0.001, jitter=0)
KINDS = (ORDERS, REFUNDS)
AT = {8100: orders_service.app, 8200: inventory_service.app, 8300: payments_service.app}

CALLS = {
    "authorize": "POST .*/payments/authorize$",
    "create": "POST .*/orders$",
    "reserve": "POST .*/inventory/reservations$",
    "capture": "POST .*/payments/capture/",
    "confirm": "PUT .*/confirm$",
    "void": "POST .*/payments/void/",
    "refund": "POST .*/payments/refund/",
    "release": "DELETE .*/inventory/reservations/",
    "cancel": "PUT .*/cancel$",
    "abandon": "POST .*/payments/void$",
    "restock": "POST .*/stock$",
    "prices": "GET .*/inventory/products",
}

# The state of each order, in the ledger and at each participant.
STATES = """
SELECT l.status, o.status AS order_status, r.status AS reservation, a.status AS payment
FROM order_ledger l LEFT JOIN payment_authorizations a ON a.idempotency_key = 'authorize:' || l.id
LEFT JOIN orders o ON o.order_ledger_id = l.id LEFT JOIN order_reservations r ON r.order_id = o.id
"""
OPEN = """
SELECT id::text FROM order_ledger WHERE due_at IS NOT NULL
UNION ALL SELECT id::text FROM refunds WHERE due_at IS NOT NULL
"""


class Crashed(Exception):
    """The process died between two of its statements."""


class SmallWorld:
    """The complete system, with faults on demand.

    `faults` lists for each kind of call what is lost of the next ones: `request` or `answer`. `before` has functions
    that run once, just before such a call is delivered, and `gates` those that run each time. `answers` are all answers
    of the participants: the call, the status and the error code.
    """

    def __init__(self, url: str, **more: str) -> None:
        """:param more: settings"""
        settings = Settings.load({"DATABASE_URL": url, **SETTINGS, **credentials.SETTINGS, **more})
        self._gateway_url = more.get("STRIPE_API_BASE", "")
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        credentials.add_key_at(url)
        self.sql(
            "PREPARE audit AS SELECT * FROM audit_violations"
        )  # prepared, because planning takes long and it runs often
        self.apps: dict[int, Flask] = {port: module.create_app(settings) for port, module in AT.items()}
        self.edge = edge_api.app.create_app(settings)
        self._database = Database(url, name="small world", size=4)
        self.reset()

    def reset(self) -> None:
        self.faults: dict[str, list[str]] = {}
        self.before: dict[str, Callable[[], Any]] = {}
        self.gates: dict[str, Callable[[], Any]] = {}
        self.answers: list[tuple[str, int, str]] = []
        self.lease_s = 0.2
        self.lost: list[requests.PreparedRequest] = []
        self.crashes_at: set[str] = set()
        self.look: Callable[[], Any] = lambda: None
        self._participants = Participants(*(_participant(port) for port in AT))

    @contextmanager
    def network(self, *real: re.Pattern[str]) -> Iterator[None]:
        """:param real: addresses at which something listens"""
        with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
            for address in filter(None, (self._gateway_url, *real)):
                mock.add_passthru(address)
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                mock.add_callback(method, re.compile(r"http://127\.0\.0\.1:8\d00/"), callback=self._call)
            yield

    def close(self) -> None:
        self._connection.close()
        self._database.close()

    def sql(self, text: str, **params: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(text, params or None)
            return cursor.fetchall() if cursor.description else []

    def audit(self) -> list[tuple[Any, ...]]:
        return self.sql("EXECUTE audit")

    def product(self, stock: int = 10) -> str:
        body = {"name": "Widget", "sku": uuid.uuid4().hex, "price_cents": 1250, "initial_stock": stock}
        return str(self.apps[8200].test_client().post("/inventory/products", json=body).json["id"])

    def order(self, *products: str, quantity: int = 2, token: str = "tok_visa", key: str = "") -> TestResponse:
        body = {
            "user_id": "7b9d2c2e-1111-4222-8333-123456789abc",
            "email": "a@b.example",
            "items": [{"product_id": product, "quantity": quantity} for product in products],
            "payment": {"method": "card", "token": token},
        }
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.edge.test_client().post("/orders", headers=headers, json=body)

    def refund(self, order_ledger_id: str, key: str = "", **body: Any) -> TestResponse:
        return self._command(f"/orders/{order_ledger_id}/refunds", key, body)

    def cancel(self, order_ledger_id: str, key: str = "") -> TestResponse:
        return self._command(f"/orders/{order_ledger_id}/cancel", key, {})

    def change(self, product: str, **changes: Any) -> TestResponse:
        return self.edge.test_client().patch(f"/products/{product}", json=changes)

    def _command(self, path: str, key: str, body: dict[str, Any]) -> TestResponse:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.edge.test_client().post(path, headers=headers, json={"reason": "other", **body})

    def get(self, path: str) -> dict[str, Any]:
        """What a client sees: `get("/orders/…")`."""
        return dict(self.edge.test_client().get(path).json)

    def stock(self, product: str) -> int:
        return int(self.sql("SELECT stock_quantity FROM products WHERE id = %(id)s", id=product)[0][0])

    def work(self) -> None:
        """Work on all orders and refunds until each has ended."""
        eventually(lambda: (self.run_once() or True) and not self.sql(OPEN))

    def run_once(
        self, until: AnyStatus | None = None, claimant: str = "me", limit: int = 10, kinds: Iterable[Entries] = KINDS
    ) -> None:
        """Claim the due orders and refunds, and process each until its status is `until`, or to its end."""
        for of in kinds:
            self._run_once(Store(self._database, claimant, self.lease_s, of), until, limit)

    def _run_once(self, store: Store, until: AnyStatus | None, limit: int) -> None:
        stops: list[Saga] = []

        def save(was: Saga, now: Saga) -> bool:
            self.look()
            if was.next_action in self.crashes_at:
                self.crashes_at.discard(was.next_action)
                raise Crashed
            is_saved = store.save(was, now)
            self.look()
            stops.extend([now] if now.status == until else [])
            return is_saved

        for saga in store.claim(limit):
            stops.clear()
            self.look()
            engine = Engine(self._participants.ask, save, store.release, POLICY, is_stopping=lambda: bool(stops))
            try:
                engine.run(saga)
            except Crashed:
                continue
        self.look()

    def arrive_late(self) -> list[int]:
        """Deliver every lost request after all; return the statuses of the answers."""
        statuses = []
        for request in self.lost:
            statuses.append(self._deliver(request)[0])
            self.look()
        self.lost.clear()
        return statuses

    def call(self, port: int, path: str, **body: Any) -> int:
        """Call a participant from outside a saga, as an operator might."""
        status = self.apps[port].test_client().post(path, json=body).status_code
        self.look()
        return status

    def _call(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        name = next((name for name, form in CALLS.items() if re.match(form, f"{request.method} {request.url}")), "")
        if happens := self.before.pop(name, None):
            happens()
        if gate := self.gates.get(name):
            gate()
        self.look()
        fault = self.faults[name].pop(0) if self.faults.get(name) else ""
        if fault == "request":
            self.lost.append(request)
            raise requests.ConnectionError("lost on the way")
        answer = self._deliver(request)
        self.answers.append((name, answer[0], json.loads(answer[2]).get("error", "")))
        self.look()
        if fault == "answer":
            raise requests.ReadTimeout("lost on the way back")
        return answer

    def _deliver(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        port = int(str(request.url).split(":")[2][:4])
        names = ("Content-Type", "X-Request-ID", "Idempotency-Key")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        answer = (
            self.apps[port]
            .test_client()
            .open(request.path_url, method=request.method, data=request.body, headers=headers)
        )
        return answer.status_code, dict(answer.headers), answer.data


def _participant(port: int) -> Participant:
    return Participant(ServiceClient(str(port), f"http://127.0.0.1:{port}"), pause_s=0.001)
