"""What makes each alert fire: causes that happen to the real processes, and to rows whose times are set back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from threading import Event
from typing import Any

import psycopg2
import requests

from tests import credentials
from tests.other_session import other_session
from tests.severable import Severable
from tests.system.conftest import place
from tests.system.measured import Measured
from tests.system.stack import PROJECT
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

ORCHESTRATORS = ("orchestrator", "orchestrator.2")
# One thread in each orchestrator, and a gateway that takes a while: they finish some six orders a second.
FEW_THREADS = {"MOCK_LATENCY_MS": "200", "WORKER_THREADS": "1"}
SMALL = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "3"}  # three connections, so that a few requests hold all of them
SOLD_ON_A_QUIET_DAY, BACKLOG = 6, 60
BUYERS = 6  # a worker of the Edge API calls other services for so many at once, so none is answered 503 `busy`
PACE_S = 0.05  # between two requests of a thread that goes on and on
OFF_GUARD = "SET LOCAL session_replication_role = replica"  # no triggers: they refuse what a test plants
WAITING = "status = 'AUTHORIZED' AND claimed_by IS NULL"
PLANT = "UPDATE payment_authorizations SET captured_amount_cents = captured_amount_cents - 1 WHERE status = 'CAPTURED'"


class System:
    """All processes, a shop's receiver of webhooks, and a connection of the database's owner."""

    def __init__(self, measured: Measured, url: str, receiver: Receiver, listening: Severable) -> None:
        """:param listening: the path on which `orchestrator` hears notifications"""
        self.measured, self.stack, self.receiver, self.listening = measured, measured.stack, receiver, listening
        self.during = ExitStack()
        """What lasts until all alerts of a stage have fired."""
        self._url = url
        self._frozen: list[int] = []

    def start(self) -> None:
        direct = {"ORCHESTRATOR_DATABASE_DIRECT_URL": self.listening.url}
        for name, special in {"orchestrator": direct, "inventory_service": SMALL}.items():
            self.measured.launch(name, **FEW_THREADS, **special)
        self.measured.start("web", "orders_service", "payments_service", "orchestrator.2", "webhooks", **FEW_THREADS)
        self.measured.wait_for("orchestrator", "inventory_service")
        self.product = self.stack.product(stock=10_000)
        with self.stack.client(api_key=credentials.EDGE_KEY) as client:
            for path in ("works", "gone"):
                client.create_webhook_endpoint(url=f"{self.receiver.url}/{path}")
        assert self.audit() == 0

    def place(self, count: int, *, buyers: int = BUYERS, token: str = "tok_visa") -> list[str]:
        """Place orders. :returns: their ids, or why they were refused"""
        return list(place(self.stack, self.product, count, buyers=min(buyers, count), token=token).values())

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self._url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(OFF_GUARD)
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def audit(self) -> int:
        """:returns: the exit code of `python -m ops audit`"""
        environ = {**os.environ, "DATABASE_URL": self._url}
        command = [sys.executable, "-m", "ops", "audit"]
        return subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, check=False).returncode

    def freeze(self, name: str) -> None:
        self._frozen = [self.stack.processes[name].pid, *self.stack.workers(name)]
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def stop(self) -> None:
        """Let what is frozen go on, so that it can be stopped."""
        self.during.close()
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        with other_session(self._url) as cursor:
            cursor.execute(f"LOCK TABLE {table}")
            yield


@contextmanager
def constantly(call: Callable[[], object], threads: int) -> Iterator[None]:
    """Repeat a call in some threads, until the end of the block."""
    stopping = Event()

    def run() -> None:
        while not stopping.wait(PACE_S):
            call()

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(run) for _ in range(threads)]
        try:
            yield
        finally:
            stopping.set()
    for each in running:
        each.result()


def sell(system: System) -> None:
    """What happens on a quiet day: orders, a declined one, and a refund. All of it is delivered."""
    sold = system.place(SOLD_ON_A_QUIET_DAY, buyers=2)
    system.place(1, token="tok_decline_stolen")
    with system.stack.client() as client:
        for id_ in sold:
            assert client.wait_until_terminal(id_).status == "COMPLETED"
        refund = client.refund(sold[0], amount_cents=100, reason="other").refund_id
        assert refund
        assert client.get_refund(refund, wait=20).status == "SUCCEEDED"
    eventually(lambda: len(system.receiver.answered) == 2 * (2 * len(sold) + 2))


# While everything works


def cut_off_listen(system: System) -> None:
    system.listening.stop()


def plant_a_violation(system: System) -> None:
    system.sql(PLANT)
    assert system.audit() == 1


def let_no_audit_follow(system: System) -> None:
    system.sql("UPDATE audit_runs SET at = at - interval '61 minutes'")


def let_orders_fail(system: System) -> None:
    system.place(8, token="fail_capture")


def place_more_than_the_threads_can_do(system: System) -> None:
    system.place(BACKLOG)


def answer_gone(system: System) -> None:
    system.receiver.answer = lambda received: 410 if received.path == "/gone" else 204


def kill_webhooks(system: System) -> None:
    eventually(lambda: system.sql("SELECT 1 FROM webhook_endpoints WHERE status = 'disabled'"))
    system.stack.kill("webhooks")
    system.place(1)
    system.sql("UPDATE events SET at = at - interval '16 minutes'")


# While a participant hangs


def freeze_the_orders_service(system: System) -> None:
    """The only thread of each orchestrator waits for it. Two minutes pass."""
    system.freeze("orders_service")
    system.place(14)
    eventually(lambda: system.sql("SELECT 1 FROM order_ledger WHERE claimed_until > now() HAVING count(*) = 2"))
    system.sql(f"UPDATE order_ledger SET due_at = due_at - interval '10 minutes' WHERE {WAITING}")


def let_holds_become_old(system: System) -> None:
    system.sql(f"UPDATE order_ledger SET created_at = created_at - interval '31 minutes' WHERE {WAITING}")


def go_on_ordering(system: System) -> None:
    """New orders are answered 503 `busy`: those before them have waited for longer than MAX_BACKLOG_AGE_S."""
    body = {
        "user_id": str(uuid.uuid4()),
        "email": "a@b.example",
        "items": [{"product_id": system.product, "quantity": 1}],
        "payment": {"method": "card", "token": "tok_visa"},
    }

    def order() -> None:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        requests.post(f"{system.stack.url('web')}/orders", json=body, headers=headers, timeout=30)

    system.during.enter_context(constantly(order, threads=1))


def lock_the_products(system: System) -> None:
    url = f"{system.stack.url('inventory_service')}/inventory/products"
    system.during.enter_context(constantly(lambda: requests.get(url, timeout=30), threads=6))
    system.during.enter_context(system.locked("products"))  # the last, so that it ends first and nobody waits for it


# While a participant is down


def cancel_an_order_that_cannot_be_undone(system: System) -> None:
    """Its undo waits for the orders service for longer than it may."""
    (id_,) = system.sql(f"SELECT id::text FROM order_ledger WHERE {WAITING} ORDER BY due_at DESC LIMIT 1")[0]
    with system.stack.client() as client:
        client.cancel_order(id_, reason="other")


def kill_the_orders_service(system: System) -> None:
    system.stack.kill("orders_service")


def kill_the_orchestrators(system: System) -> None:
    for name in ORCHESTRATORS:
        system.stack.kill(name)


class Cause:
    def __init__(self, happens: Callable[[System], None], **labels: str) -> None:
        """:param labels: of the alert. `instance` is the name of a process"""
        self.happens, self._labels = happens, labels

    def is_that_of(self, alert: dict[str, str]) -> bool:
        return self._labels.items() <= alert.items()


Stage = dict[str, Cause]
STAGES: tuple[Stage, ...] = (
    {
        "HoldfastListenDown": Cause(cut_off_listen, instance="orchestrator"),
        "HoldfastAuditViolations": Cause(plant_a_violation, rule="completed"),
        "HoldfastAuditStandsStill": Cause(let_no_audit_follow),
        "HoldfastOrdersFail": Cause(let_orders_fail),
        "HoldfastClaimDelay": Cause(place_more_than_the_threads_can_do),
        "HoldfastEndpointDisabled": Cause(answer_gone),
        "HoldfastWebhooksLate": Cause(kill_webhooks),
    },
    {
        "HoldfastOldestDue": Cause(freeze_the_orders_service),
        "HoldfastHoldTooOld": Cause(let_holds_become_old),
        "HoldfastEdgeErrors": Cause(go_on_ordering),
        "HoldfastPoolFull": Cause(lock_the_products, service="inventory_service", instance="inventory_service"),
    },
    {
        "HoldfastNeedsAttention": Cause(cancel_an_order_that_cannot_be_undone),
        "HoldfastParticipantSilent": Cause(kill_the_orders_service, service="orchestrator", participant="orders"),
    },
    {"HoldfastNoOrchestrator": Cause(kill_the_orchestrators)},
)
SLOW = {"HoldfastListenDown", "HoldfastAuditStandsStill"}
"""Their `for:` is long, and their causes last. They are waited for before the last stage, which would end them."""
CAUSES: Stage = {name: cause for stage in STAGES for name, cause in stage.items()}
