"""One system for the rows of the catalogue that can share it: started once and reset for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from common.schema import migrate
from local.binaries import find_binaries, major_version
from local.postgres import EmbeddedPostgres
from tests.books import violations
from tests.emptied import EMPTY
from tests.severable import Severable
from tests.system.stack import WEB_PROCESSES, Stack
from tests.waiting import eventually

ORCHESTRATORS = ("orchestrator.1", "orchestrator.2")
ALL = (*WEB_PROCESSES, *ORCHESTRATORS)
LISTENS = "orchestrator listen"  # the name of the orchestrators' connections that LISTEN
NEVER = "3600"  # seconds until the next poll
PATIENCE_S = 60  # for an answer; only a failing test waits so long

# Orders as the Edge API leaves them: authorized, with holds and events, and due at once.
BACKLOG = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
    request_id, status, due_at, claim_number, response_status, response_body)
  SELECT gen_random_uuid(), 'shop', 'backlog ' || n, md5(n::text), gen_random_uuid(), 'a@b.example', 500, 'USD',
    'request ' || n, 'AWAITING_AUTHORIZATION', now() + interval '1 hour', 1, 202, '{}'
  FROM generate_series(1, %(orders)s) n;
INSERT INTO order_ledger_items (order_ledger_id, position, product_id, quantity, unit_price_cents)
  SELECT id, 1, (%(products)s::uuid[])[1 + (row_number() OVER () - 1) %% cardinality(%(products)s::uuid[])], 1, 500
  FROM order_ledger WHERE client_request_id LIKE 'backlog %%';
INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status)
  SELECT 'auth_' || substr(md5(id::text), 1, 24), 'authorize:' || id, user_id, 500, 'USD', 'AUTHORIZED'
  FROM order_ledger WHERE client_request_id LIKE 'backlog %%';
INSERT INTO outbox (order_ledger_id, event_type, payload)
  SELECT id, 'order.authorized', jsonb_build_object('version', 1, 'order_ledger_id', id)
  FROM order_ledger WHERE client_request_id LIKE 'backlog %%';
UPDATE order_ledger SET status = 'AUTHORIZED', due_at = now(),
    payment_authorization_id = 'auth_' || substr(md5(id::text), 1, 24)
  WHERE client_request_id LIKE 'backlog %%';
"""


class SharedStack(Stack):
    """Four services, two orchestrators, and their own database server, which a test may stop."""

    def __init__(self, server: EmbeddedPostgres, logs: Path) -> None:
        super().__init__(server.url, logs)
        self.server = server
        self._changed: set[str] = set()

    def launch(self, name: str, **environ: str) -> None:
        super().launch(name, **environ)
        (self._changed.add if environ else self._changed.discard)(name)

    def restart(self, *names: str, **environ: str) -> None:
        """End processes and start them again, with other settings."""
        self.end(*names)
        self.start(*names, **environ)

    def end(self, *names: str) -> None:
        """End idle processes at once, by SIGKILL."""
        for name in names:
            self.kill(name)

    def reset(self) -> None:
        """Restore the usual processes with the usual settings, and empty the tables."""
        if self.server.returncode is not None:
            self.server.stop()
            self.server.start()
        for name in [name for name, process in self.processes.items() if process.poll() is not None]:
            del self.processes[name]
        is_at_rest = self.count("order_ledger WHERE due_at IS NOT NULL") == 0  # not after a test that failed
        to_end = self._changed | (self.processes.keys() - ALL) | set(() if is_at_rest else ORCHESTRATORS)
        self.end(*(name for name in self.processes if name in to_end))
        eventually(self._empty_tables)
        self.start(*(name for name in ALL if name not in self.processes))

    def _empty_tables(self) -> bool:
        """:returns: False after a deadlock with an orchestrator that was looking for work"""
        try:
            self.sql(EMPTY)
        except psycopg2.errors.DeadlockDetected:
            return False
        return True

    # Looks into the database

    def sql(self, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """A statement on a connection of its own, committed by itself: `sql("SELECT …", id=1)` → rows."""
        with closing(psycopg2.connect(self.server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, params or None)
                return cursor.fetchall() if cursor.description else []

    def count(self, rows: str) -> int:
        """Count rows: `count("order_ledger WHERE status = 'COMPLETED'")`."""
        return int(self.sql(f"SELECT count(*) FROM {rows}")[0][0])

    def by_status(self) -> dict[str, int]:
        """Count the orders of each status."""
        return dict(self.sql("SELECT status, count(*) FROM order_ledger GROUP BY status"))

    def backends(self, application_name: str) -> set[int]:
        """Return the ids of the server's processes for these connections."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %(name)s"
        return {pid for (pid,) in self.sql(query, name=application_name)}

    def settle(self, within_s: float = 60) -> None:
        """Wait until every order and refund is in a terminal state, then check that the books agree."""
        for table in ("order_ledger", "refunds"):
            eventually(lambda table=table: self.count(f"{table} WHERE due_at IS NOT NULL") == 0, within_s)
        assert violations(self.server.url) == {}

    # What a shop sends

    def order_body(self, product: str, quantity: int = 1, **changes: Any) -> dict[str, Any]:
        return {
            "user_id": "7b9d2c2e-1111-4222-8333-123456789abc",
            "email": "a@b.example",
            "items": [{"product_id": product, "quantity": quantity}],
            "payment": {"method": "card", "token": "tok_visa"},
            **changes,
        }

    def post_order(
        self, key: str, product: str, quantity: int = 1, *, web: str = "web", api_key: str = "", **changes: Any
    ) -> requests.Response:
        """Send one order, without a retry; `changes` as in `order_body`."""
        body = self.order_body(product, quantity, **changes)
        headers = {"Idempotency-Key": key} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        return requests.post(f"{self.url(web)}/orders", json=body, headers=headers, timeout=PATIENCE_S)

    def post_refund(self, order_ledger_id: str, key: str, **body: Any) -> requests.Response:
        """Request one refund, without a retry."""
        url = f"{self.url('web')}/orders/{order_ledger_id}/refunds"
        content = {"reason": "requested_by_customer", **body}
        return requests.post(url, json=content, headers={"Idempotency-Key": key}, timeout=PATIENCE_S)

    def backlog(self, orders: int, products: list[str]) -> list[str]:
        """Insert authorized orders that wait for an orchestrator, for each product in turn; return their ids."""
        self.sql(BACKLOG, orders=orders, products=products)
        return [id_ for (id_,) in self.sql("SELECT id::text FROM order_ledger ORDER BY id")]


def new_key() -> str:
    """An idempotency key."""
    return uuid.uuid4().hex


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStack]:
    folder = tmp_path_factory.mktemp("shared")
    # A test kills the server, not the machine: written files survive without fsync.
    settings = {"fsync": "off"}
    if major_version(find_binaries() / "postgres") >= 17:
        settings["max_notify_queue_pages"] = "64"  # the least there is, so that a test can fill it
    with EmbeddedPostgres(folder / "postgres", settings) as server:
        migrate.upgrade(server.url)
        with SharedStack(server, folder) as stack:
            yield stack


@pytest.fixture
def stack(shared_stack: SharedStack) -> SharedStack:
    """The shared system, reset. A test ends with `stack.settle()`."""
    shared_stack.reset()
    return shared_stack


@pytest.fixture
def way(stack: SharedStack) -> Iterator[Severable]:
    """The only orchestrator's path to the database. It does not poll: it depends on notifications."""
    way = Severable(stack.server.url)
    stack.end(*ORCHESTRATORS)
    stack.start("orchestrator.1", DATABASE_URL=way.url, POLL_INTERVAL_S=NEVER)
    yield way
    stack.end("orchestrator.1")
    way.stop()
