"""The console on the complete system in one thread, with its own database role."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from common.database.transaction import Transaction
from common.process.settings import Settings
from common.schema.accounts import address_of
from common.schema.roles import role_of
from console.app import create_app
from console.context import Console
from console.job_worker import JobWorker
from ops import operators
from tests import credentials
from tests.audit.conftest import one_world, world
from tests.audit.small_world import SmallWorld
from tests.waiting import eventually

__all__ = ["one_world", "world"]  # fixtures
OURS = {"Origin": "http://localhost"}


class Person:
    """An operator with a key, at the API and in a browser."""

    def __init__(self, app: Flask, key: str) -> None:
        self.app, self.key = app, key
        self.browser = app.test_client()

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.app.test_client().get(path, query_string=query, headers={"Authorization": f"Bearer {self.key}"})

    def post(self, path: str, key: str | None = "", query: str = "", **body: Any) -> TestResponse:
        named = {} if key is None else {"Idempotency-Key": key or uuid.uuid4().hex}
        headers = {"Authorization": f"Bearer {self.key}", **named}
        return self.app.test_client().post(f"{path}{query}", json=body, headers=headers)

    def sign_in(self) -> None:
        assert self.browser.post("/sign-in", data={"key": self.key}, headers=OURS).status_code == 303

    def page(self, path: str) -> str:
        answer = self.browser.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, path: str, **form: str) -> TestResponse:
        """Send a form, as a page of ours does."""
        return self.browser.post(path, data={"key": uuid.uuid4().hex, **form}, headers=OURS)


def new_app(url: str, **environ: str) -> Flask:
    address = address_of(url, role_of("console"))
    usual = {"DATABASE_URL": address, "LOG_LEVEL": "ERROR", "APP_ENV": "test", **credentials.SETTINGS}
    return create_app(Settings.load({**usual, **environ}))


@pytest.fixture(scope="session")
def console_app(migrated_url: str) -> Flask:
    return new_app(migrated_url)


@pytest.fixture
def console(console_app: Flask) -> Console:
    (worker,) = console_app.config["BACKGROUND"]
    assert isinstance(worker, JobWorker)
    return worker.console


@pytest.fixture
def key_of(url: str, world: SmallWorld) -> Callable[..., str]:
    """`key_of("viewer")`: a new key with this role."""

    def make(role: str, name: str = "") -> str:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            return operators.create(Transaction(cursor), name or f"ada.{role}", role)

    return make


@pytest.fixture
def person(console_app: Flask, key_of: Callable[..., str]) -> Callable[..., Person]:
    """`person("viewer")`: an operator with this role, who is signed in."""

    def make(role: str, app: Flask = console_app, name: str = "") -> Person:
        made = Person(app, key_of(role, name))
        made.sign_in()
        return made

    return make


@pytest.fixture
def ada(person: Callable[..., Person]) -> Person:
    return person("operator")


@pytest.fixture
def record(world: SmallWorld) -> Callable[..., list[tuple[Any, ...]]]:
    """`record()`: actor, action and details of what operators did to orders and jobs in this test."""
    ((start,),) = world.sql("SELECT now()")

    def read() -> list[tuple[Any, ...]]:
        return world.sql(
            "SELECT actor, action, details FROM operator_log WHERE at > %(start)s AND split_part(action, '.', 1) IN"
            " ('order', 'refund', 'job') ORDER BY at, id",
            start=start,
        )

    return read


@pytest.fixture
def waiting(world: SmallWorld) -> str:
    """An order that waits an hour for its next retry, and needs attention."""
    order = world.order(world.product()).json["order_ledger_id"]
    world.sql(
        "UPDATE order_ledger SET due_at = now() + interval '1 h', next_retry_at = now() + interval '1 h',"
        " retry_count = 7, needs_attention_at = now(), attention_reason = 'no answer' WHERE id = %(id)s",
        id=order,
    )
    return str(order)


@pytest.fixture
def completed(world: SmallWorld) -> str:
    """A completed order of two pieces at 12.50 USD."""
    order = str(world.order(world.product()).json["order_ledger_id"])
    status = "SELECT 1 FROM order_ledger WHERE id = %(id)s AND status = 'COMPLETED'"
    eventually(lambda: (world.run_once() or True) and world.sql(status, id=order))
    return order
