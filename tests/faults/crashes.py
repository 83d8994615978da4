"""One system for the rows in which a process is killed at a crash point; each test arms the process it wants dead."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

import inventory_service.routes
import orders_service.routes
import payments_service.routes
from common.api.routes import Api
from local.postgres import EmbeddedPostgres
from tests.faults.shared_stack import PATIENCE_S, SharedStack, new_key
from tests.other_session import other_session
from tests.system.stack import WEB_PROCESSES
from tests.waiting import eventually

ORCHESTRATOR = "orchestrator.1"
PARTICIPANTS = {
    "orders_service": orders_service.routes.api,
    "inventory_service": inventory_service.routes.api,
    "payments_service": payments_service.routes.api,
}
# One worker, because a service is started for each point. A short lease lets a repeat take over the dead request soon.
WEB = {"WEB_CONCURRENCY": "1", "LEASE_S": "1"}
# The test decides when a dead saga is taken over: on a busy machine, a short lease might end during a call.
SAGAS = {"LEASE_S": "30"}


def process_of(point: str) -> str:
    """Return the process that reaches this point."""
    kind, _, rest = point.partition(".")
    if kind == "participant":
        write = rest.partition(".")[2]
        return next(name for name, api in PARTICIPANTS.items() if write in writes_of(api))
    return "web" if kind == "edge" else ORCHESTRATOR


def writes_of(api: Api) -> set[str]:
    return {operation.view.__name__ for operation in api.operations if operation.may_change}


class CrashStack(SharedStack):
    """Four services, and an orchestrator when a test starts it."""

    def __init__(self, server: EmbeddedPostgres, logs: Path) -> None:
        super().__init__(server, logs)
        self._unusual: str | None = None  # a process that is armed, or has other settings

    def launch(self, name: str, **environ: str) -> None:
        super().launch(name, **(SAGAS if name == ORCHESTRATOR else WEB) | environ)

    def reset(self) -> None:
        """Disarm all processes and empty the tables. An orchestrator that the previous test left keeps running."""
        if self._unusual in self.processes:
            self.kill(self._unusual)
        self._unusual = None
        eventually(self._empty_tables)
        self.ensure(*WEB_PROCESSES)

    def without_orchestrator(self) -> None:
        if ORCHESTRATOR in self.processes:
            self.kill(ORCHESTRATOR)

    def let_time_pass(self) -> None:
        """End every lease and make every open entry due, as if its worker or client had been dead for long."""
        self.sql(
            "UPDATE order_ledger SET due_at = now(), claimed_until = CASE WHEN claimed_by IS NOT NULL THEN now() END"
            " WHERE due_at IS NOT NULL;"
            "UPDATE refunds SET due_at = now(), claimed_until = CASE WHEN claimed_by IS NOT NULL THEN now() END"
            " WHERE due_at IS NOT NULL"
        )

    def ensure(self, *names: str) -> None:
        self.start(*(name for name in names if name not in self.processes))

    @contextmanager
    def killed_at(self, point: str, nth: int = 1, **environ: str) -> Iterator[None]:
        """Arm the process that reaches this point. On exit, check that it was killed there, and disarm it."""
        self._unusual = name = process_of(point)
        if name == "web":
            self.without_orchestrator()  # which might close the request before it is repeated
        if name in self.processes:
            self.kill(name)
        told_before = len(self.log(name))  # read now: the process may reach the point before its health check passes
        self.start(name, CRASH_AT=f"{point}:{nth}", **environ)
        yield
        line = eventually(lambda: _line_with(f"crash point {point}:", self.log(name)[told_before:]), PATIENCE_S)
        pid = json.loads(line)["process_id"]
        if name == ORCHESTRATOR:
            assert pid == self.processes[name].pid
            assert self.processes.pop(name).wait(PATIENCE_S) == -signal.SIGKILL
        else:  # a worker: gunicorn logs how it ended and starts another
            eventually(lambda: f"(pid:{pid}) was sent SIGKILL" in self.log(name), PATIENCE_S)
        self._unusual = name if environ else None

    # What a test does

    def order_that_confirm_refuses(self) -> ShopsOrder:
        """Place an order and cancel it at the orders service, so that its confirm is refused and its money returned."""
        order = ShopsOrder(self, self.product())
        with self.held(order.product):  # its reservation has to wait
            assert order.send().status_code == 202
            eventually(lambda: self.by_status() == {"ORDER_CREATED": 1}, PATIENCE_S)
            order_id = self.value("SELECT order_id::text FROM order_ledger")
            assert requests.put(f"{self.url('orders_service')}/orders/{order_id}/cancel", timeout=PATIENCE_S).ok
        return order

    @contextmanager
    def held(self, product: str) -> Iterator[None]:
        """Lock a product's row, so that nobody else can reserve it."""
        with other_session(self.server.url) as cursor:
            cursor.execute("SELECT FROM products WHERE id = %s FOR UPDATE", [product])
            yield

    # How a test ends

    def settles(self, order: ShopsOrder, status: str) -> None:
        """Check for one entry with this final status, one hold, consistent books and a replayed key."""
        self.ensure(ORCHESTRATOR)
        self.settle()
        assert self.by_status() == {status: 1}
        assert self.count("payment_authorizations") == 1
        replayed = order.send()
        assert (replayed.status_code, replayed.headers["Idempotency-Replayed"]) == (202, "true")
        assert replayed.json()["order_ledger_id"] == str(self.value("SELECT id FROM order_ledger"))

    def value(self, query: str, **params: Any) -> Any:
        ((value,),) = self.sql(query, **params)
        return value


@dataclass(frozen=True)
class ShopsOrder:
    """An order as a shop sends it, with its own key."""

    stack: CrashStack
    product: str
    quantity: int = 1
    token: str = "tok_visa"
    key: str = field(default_factory=new_key)

    def send(self) -> requests.Response:
        """:raises requests.ConnectionError: no answer"""
        payment = {"method": "card", "token": self.token}
        return self.stack.post_order(self.key, self.product, self.quantity, payment=payment)

    def send_until_answered(self) -> requests.Response:
        """Repeat with the same key until the order is accepted or refused."""

        def answer() -> tuple[requests.Response, ...]:
            try:
                response = self.send()
            except requests.ConnectionError:
                return ()
            return () if response.status_code in (409, 503) else (response,)

        return eventually(answer, PATIENCE_S)[0]


def _line_with(words: str, log: str) -> str | None:
    return next((line for line in log.splitlines() if words in line), None)


@pytest.fixture(scope="session")
def services_to_crash(
    postgres: EmbeddedPostgres, migrated_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashStack]:
    stack = CrashStack(postgres, tmp_path_factory.mktemp("crashes"))
    try:
        yield stack
    finally:
        for name in list(stack.processes):
            stack.kill(name)


@pytest.fixture(scope="module")
def services_alone(services_to_crash: CrashStack) -> Iterator[CrashStack]:
    """Leave no orchestrator running: it would claim other tests' orders."""
    yield services_to_crash
    services_to_crash.without_orchestrator()


@pytest.fixture
def crashing(services_alone: CrashStack) -> CrashStack:
    """The services, healthy, on empty tables."""
    services_alone.reset()
    return services_alone
