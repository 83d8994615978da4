"""The payments service as a client sees it, on the tests' own PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from common.process.settings import Settings
from payments_service.app import create_app
from payments_service.gateways.simulated import SimulatedGateway
from tests import credentials
from tests.payments_service.stripe_worlds import KEY, Double, StripeWorld, double

USER = "7b9d2c2e-1111-4222-8333-123456789abc"


class Scripted(random.Random):
    """A random source whose draws the test sets."""

    draw = 0.99

    def random(self) -> float:
        return self.draw


class Payments:
    """The service's calls; each uses a new key unless one is given."""

    def __init__(self, app: Flask, url: str) -> None:
        self.app, self.url = app, url
        self._keys = iter(range(10**9))

    def post(self, path: str, **body: Any) -> TestResponse:
        return self.app.test_client().post(f"/payments/{path}", json=body)

    def authorize(self, key: str | None = None, token: str = "tok_visa", amount: int = 1000) -> TestResponse:
        return self.post("authorize", **self.authorize_body(key, token, amount))

    def authorize_body(self, key: str | None = None, token: str = "tok_visa", amount: int = 1000) -> dict[str, Any]:
        content = {"user_id": USER, "amount_cents": amount, "currency": "USD", "payment_token": token}
        return {**content, "idempotency_key": key or self.new_key()}

    def authorized(self, key: str | None = None, token: str = "tok_visa", amount: int = 1000) -> str:
        """Authorize a payment. :returns: its id"""
        return str(self.authorize(key, token, amount).json["authorization_id"])

    def captured(self, amount: int = 1000) -> str:
        """Authorize and capture a payment in full. :returns: its id"""
        authorization_id = self.authorized(amount=amount)
        assert self.capture(authorization_id).status_code == 200
        return authorization_id

    def capture(self, authorization_id: str, key: str | None = None, **more: Any) -> TestResponse:
        return self.post(f"capture/{authorization_id}", idempotency_key=key or self.new_key(), **more)

    def void(self, authorization_id: str, key: str | None = None, **more: Any) -> TestResponse:
        return self.post(f"void/{authorization_id}", idempotency_key=key or self.new_key(), **more)

    def void_by_key(self, authorization_key: str, key: str | None = None, **more: Any) -> TestResponse:
        body = {"authorization_key": authorization_key, "idempotency_key": key or self.new_key(), **more}
        return self.post("void", **body)

    def refund(self, authorization_id: str, key: str | None = None, **more: Any) -> TestResponse:
        return self.post(f"refund/{authorization_id}", idempotency_key=key or self.new_key(), **more)

    def show(self, authorization_id: str) -> TestResponse:
        return self.app.test_client().get(f"/payments/{authorization_id}")

    def new_key(self) -> str:
        return f"key-{next(self._keys)}"

    def sql(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(statement, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def count(self, table: str) -> int:
        return int(self.sql(f"SELECT count(*) AS n FROM {table}")[0]["n"])


@pytest.fixture(scope="session")
def payments_settings(migrated_url: str) -> Settings:
    return Settings.load(
        {"DATABASE_URL": migrated_url, "LOG_LEVEL": "WARNING", "WEB_THREADS": "12", **credentials.SETTINGS}
    )


@pytest.fixture(scope="session")
def payments_app(payments_settings: Settings) -> Flask:
    return create_app(payments_settings)


@pytest.fixture
def payments(payments_app: Flask, url: str) -> Payments:
    return Payments(payments_app, url)


@pytest.fixture(scope="session")
def chance() -> Scripted:
    return Scripted()


@pytest.fixture(scope="session")
def unreliable_app(payments_settings: Settings, chance: Scripted) -> Flask:
    """A service with a failure rate of one half: a draw below 0.25 loses the request, below 0.5 the answer."""
    return create_app(payments_settings, SimulatedGateway(latency_s=0, failure_rate=0.5, chance=chance))


@pytest.fixture
def unreliable(unreliable_app: Flask, url: str, chance: Scripted) -> Iterator[Payments]:
    yield Payments(unreliable_app, url)
    del chance.__dict__["draw"]


@pytest.fixture(scope="session")
def stripe_double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    with double(tmp_path_factory.mktemp("stripe")) as running:
        yield running


@pytest.fixture(scope="session")
def stripe_app(migrated_url: str, stripe_double: Double) -> Flask:
    stripe = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe_double.url}
    usual = {"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", "WEB_THREADS": "12", **credentials.SETTINGS}
    return create_app(Settings.load({**usual, **stripe}, "payments_service"))


@pytest.fixture
def over_stripe(stripe_app: Flask, stripe_double: Double, url: str) -> Iterator[StripeWorld]:
    """The payments service with Stripe behind it. Every answer of the double has the form that Stripe publishes."""
    stripe_double.clear()
    yield StripeWorld(Payments(stripe_app, url), stripe_double)
    assert stripe_double.wrong == []


@pytest.fixture
def at_once() -> Callable[..., list[Any]]:
    """Run calls in threads that start at the same moment; return their results in order."""

    def run(*calls: Callable[[], Any]) -> list[Any]:
        barrier = threading.Barrier(len(calls))

        def start(call: Callable[[], Any]) -> Any:
            barrier.wait()
            return call()

        with ThreadPoolExecutor(len(calls)) as executor:
            return list(executor.map(start, calls))

    return run
