"""The orchestrator process: wires its parts, runs its threads, and drains on SIGTERM.

Start it with `python -m orchestrator`. Any number may run at once.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import uuid

from common.calls.client import ServiceClient
from common.credentials.service_tokens import Issuer
from common.database import start
from common.database.clock import DatabaseClock
from common.database.database import Database
from common.database.soundness import warn_once
from common.heartbeats.heartbeat import Heartbeat, Pool, State
from common.process import logs
from common.process.settings import SettingError, Settings
from common.process.threads import Threads, drained
from common.tracing import tracer
from crash_points import points as crash_points
from domain import refunds, states
from orchestrator.dispatcher import Dispatcher
from orchestrator.engine import Engine
from orchestrator.entries import ORDERS, REFUNDS, Entries
from orchestrator.gateway_changes import GatewayChanges
from orchestrator.listener import Listener
from orchestrator.order_sums import OrderSums
from orchestrator.participants import Participant, Participants
from orchestrator.saga import RetryPolicy
from orchestrator.store import Store

log = logging.getLogger("orchestrator")

CONNECTIONS = 6  # one saves for all threads, one claims, of orders and of refunds; the others save a single entry
CONNECTIONS_FOR_SUMS = 1  # counts orders by the minute, and reads for the metrics: neither holds up a saga
SHARE_OF_REFUNDS = 4  # one refund thread for four of orders: neither waits for the other's threads
END_WITHIN_S = 2  # to tell the database that it has stopped
DRAIN_WITHIN_S = 22  # a platform kills after 25 to 30 s; a thread has at most two calls of 10 s each left to make


class Orchestrator:
    """A listener thread, a polling thread, and the saga threads."""

    def __init__(self, settings: Settings) -> None:
        database = Database(settings.database_url, name="orchestrator", size=CONNECTIONS)
        self.pool = database.usage
        self.books = Database(settings.database_url, name="orchestrator sums", size=CONNECTIONS_FOR_SUMS)
        self.claimant = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"
        self.threads = Threads(log)
        clients = _clients(settings, database)
        self.participants = {name: _participant(client, settings) for name, client in clients.items()}
        self._participants = participants = Participants(**self.participants)
        policy = RetryPolicy(
            settings.retry_base_s, settings.retry_factor, settings.retry_max_attempts, settings.retry_jitter
        )

        def dispatcher(of: Entries, threads: int, name: str) -> Dispatcher:
            store = Store(database, self.claimant, settings.lease_s, of)
            engine = Engine(participants.ask, store.save, store.release, policy, self.threads.stopping.is_set)
            return Dispatcher(store, engine.run, threads, settings.poll_interval_s, name)

        self._orders = dispatcher(ORDERS, settings.worker_threads, "saga")
        self._refunds = dispatcher(REFUNDS, max(settings.worker_threads // SHARE_OF_REFUNDS, 1), "refund")
        self._dispatchers = {"orders": self._orders, "refunds": self._refunds}
        warn_once(database)
        wake = {states.CHANNEL: self._orders.wake, refunds.CHANNEL: self._refunds.wake}
        self._gateway_changes = GatewayChanges(
            clients["payments"], database, self._wake, self.threads.stopping, settings.gateway_poll_interval_s
        )
        self._listener = Listener(settings.database_direct_url, wake, self.threads.stopping)
        self._sums = OrderSums(self.books, self.threads.stopping)
        self._heartbeat = Heartbeat(
            settings.database_url, "orchestrator", self.claimant, self._state, self.threads.stopping
        )

    def run(self) -> int:
        """Work until told to stop. :returns: the exit code: 0, or 1 when a thread died"""
        self.threads.start("listener", self._listener.run)
        self.threads.start("dispatcher", self._orders.run)
        self.threads.start("refund dispatcher", self._refunds.run)
        self.threads.start("gateway changes", self._gateway_changes.run)
        self.threads.start("order sums", self._sums.run)
        self.threads.start("heartbeat", self._heartbeat.run)
        self.threads.wait()
        log.info("stopping with %d orders and %d refunds in flight", self._orders.in_flight, self._refunds.in_flight)
        if not drained(self._drain, DRAIN_WITHIN_S):
            left = self._orders.in_flight + self._refunds.in_flight
            log.warning("%d orders and refunds are left to their leases after %d s", left, DRAIN_WITHIN_S)
        if self.threads.has_failed:
            return 1
        drained(self._heartbeat.end, END_WITHIN_S)
        return 0

    def _state(self) -> State:
        return State(
            pools={name: Pool(each.in_flight, each.threads) for name, each in self._dispatchers.items()},
            loops={
                **{f"dispatcher of {name}": each.progress for name, each in self._dispatchers.items()},
                "listener": self._listener.progress,
                "gateway changes": self._gateway_changes.progress,
                "order sums": self._sums.progress,
            },
            is_listening=self._listener.is_hearing,
            open_breakers=self._participants.down,
        )

    def slots(self) -> dict[str, dict[str, int]]:
        """Kind of entry → how many threads are busy, and free."""
        return {"order": self._orders.slots(), "refund": self._refunds.slots()}

    def is_hearing(self) -> bool:
        """False: orders are found by polling only."""
        return self._listener.is_hearing

    def _wake(self) -> None:
        self._orders.wake()
        self._refunds.wake()

    def _drain(self) -> None:
        refunds_end = threading.Thread(target=self._refunds.stop, name="drain refunds", daemon=True)
        refunds_end.start()
        self._orders.stop()
        refunds_end.join()


def _clients(settings: Settings, database: Database) -> dict[str, ServiceClient]:
    clock = DatabaseClock(database)

    def client(name: str, url: str) -> ServiceClient:
        tokens = Issuer(settings.service_token_keys, "orchestrator", f"{name}_service", clock)
        return ServiceClient(name, url, settings.ca_bundle, tokens.header)

    return {
        "orders": client("orders", settings.orders_service_url),
        "inventory": client("inventory", settings.inventory_service_url),
        "payments": client("payments", settings.payments_service_url),
    }


def _participant(client: ServiceClient, settings: Settings) -> Participant:
    most = max(settings.worker_threads // 2, 1)
    return Participant(client, pause_s=settings.retry_base_s, max_calls_while_busy=most)


def main() -> int:
    try:
        settings = Settings.load(process="orchestrator")
        crash_points.arm(settings.crash_at)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if problem := start.role_problem(settings, "orchestrator"):
        sys.stderr.write(f"{problem}\n")
        return 1
    logs.configure("orchestrator", settings.log_level, settings.log_format)
    tracer.start(settings, "orchestrator")
    orchestrator = Orchestrator(settings)
    orchestrator.threads.stop_on_signals()
    start.record(settings, "orchestrator", orchestrator.threads.stop)
    if settings.metrics_port:
        from orchestrator.metrics import serve  # noqa: PLC0415  # only where it is wanted

        serve(settings, orchestrator)
    log.info("started with %d threads", settings.worker_threads, extra={"process_id": os.getpid()})
    code = orchestrator.run()
    tracer.stop()
    log.info("stopped")
    logging.shutdown()
    os._exit(code)  # the interpreter would wait for a saga thread that hangs; all that matters is in the database


if __name__ == "__main__":
    sys.exit(main())
