"""One running system for all rows with network faults: its processes call each other through a proxy."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
import requests

from common.schema import migrate
from holdfast_client.models import Order
from local.postgres import EmbeddedPostgres
from tests.books import violations
from tests.emptied import EMPTY
from tests.faults.proxy import Proxy
from tests.system.stack import Stack, running
from tests.waiting import eventually

# Five attempts in 0.1 s, then an undo every 1.5 s. The lease is the default, so nothing is taken over by accident.
SETTINGS = {"WORKER_THREADS": "12", "RETRY_BASE_S": "0.005", "LEASE_S": "30"}
PATIENCE_S = 60  # for something that must happen; only a failing test waits so long
ORCHESTRATOR = "orchestrator.1"


class ProxiedSystem:
    """A shop's view of the running system, the proxy between its processes, and a way to look into its books."""

    def __init__(self, stack: Stack, url: str) -> None:
        self.stack, self.url = stack, url
        self.product = ""
        """The id of a product with 1,000 in stock, new in each test."""

    @property
    def proxy(self) -> Proxy:
        return self.stack.proxy

    def post(
        self, key: str, *, web: str = "web", url: str = "", timeout: float = 30, **changes: Any
    ) -> requests.Response:
        """Send one request for an order, once; to `url` instead of `web` if given. `changes` as in `order_body`."""
        url = f"{url or self.stack.url(web)}/orders"
        body, headers = self.order_body(**changes), {"Idempotency-Key": key}
        return requests.post(url, json=body, headers=headers, timeout=timeout)

    def order_body(self, *, token: str = "tok_visa", quantity: int = 1, product: str = "") -> dict[str, Any]:
        return {
            "user_id": "7b9d2c2e-1111-4222-8333-123456789abc",
            "email": "a@b.example",
            "items": [{"product_id": product or self.product, "quantity": quantity}],
            "payment": {"method": "card", "token": token},
        }

    def order(self, **changes: Any) -> str:
        """Place an order that is accepted at once. :returns: its `order_ledger_id`"""
        response = self.post(uuid.uuid4().hex, **changes)
        assert response.status_code == 202, response.text
        return str(response.json()["order_ledger_id"])

    def look(self, order_ledger_id: str) -> Order:
        with self.stack.client() as client:
            return client.get_order(order_ledger_id)

    def ended(self, order_ledger_id: str) -> Order:
        """Wait for the order's terminal state and return it."""
        with self.stack.client() as client:
            return client.wait_until_terminal(order_ledger_id, timeout=PATIENCE_S)

    def settle(self) -> None:
        """End a test: every rule was used, every order is in a terminal state, and the books agree."""
        assert self.proxy.unmet == []
        eventually(lambda: not self.open_orders(), PATIENCE_S)
        assert violations(self.url) == {}

    # The books

    def open_orders(self) -> int:
        return int(self.sql("SELECT count(*) AS n FROM order_ledger WHERE due_at IS NOT NULL")[0]["n"])

    def stock(self, product: str = "") -> int:
        return int(
            self.sql("SELECT stock_quantity FROM products WHERE id = %(id)s", id=product or self.product)[0][
                "stock_quantity"
            ]
        )

    def payment(self, order: Order) -> dict[str, Any]:
        """Return the order's payment and its movements, as the payments service shows them."""
        url = f"{self.stack.url('payments_service')}/payments/{order.payment_authorization_id}"
        return dict(requests.get(url, timeout=10).json())

    def movements(self, order: Order) -> list[str]:
        """Return the types of the payment's movements, first to last: `["authorize", "capture", "refund"]`."""
        return [movement["type"] for movement in self.payment(order)["movements"]]

    def sql(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        rows = psycopg2.extras.RealDictCursor
        with (
            closing(psycopg2.connect(self.url)) as connection,
            connection,
            connection.cursor(cursor_factory=rows) as cursor,
        ):
            cursor.execute(statement, params)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    # The processes

    @contextmanager
    def other(self, kind: str, **environ: str) -> Iterator[str]:
        """Run a second process with these settings. A second orchestrator replaces the first.

        :returns: its name
        """
        name = f"{kind}.2"
        if kind == "orchestrator":
            self.stack.stop(ORCHESTRATOR)
        self.stack.start(name, **environ)
        yield name
        self.stack.stop(name)
        if kind == "orchestrator":
            self.stack.start(ORCHESTRATOR)

    def end_leases(self) -> None:
        """End the leases of all claimed orders, as the passing of time would.

        A request that waits for its client is not due when its lease ends: the sweeper comes later.
        """
        due = "CASE status WHEN 'AWAITING_AUTHORIZATION' THEN due_at ELSE now() END"
        self.sql(f"UPDATE order_ledger SET claimed_until = now(), due_at = {due} WHERE claimed_by IS NOT NULL")

    def reset(self) -> None:
        """Empty the tables, drop all rules and leave one orchestrator, whatever the previous test left."""
        self.proxy.heal()
        for name in [name for name in self.stack.processes if name[-1].isdigit()]:
            if name != ORCHESTRATOR or self.open_orders():
                self.stack.kill(name)
        if ORCHESTRATOR not in self.stack.processes:
            self.stack.start(ORCHESTRATOR)
        eventually(self._empty_tables)
        self.proxy.forget()
        self.product = self.stack.product()

    def _empty_tables(self) -> bool:
        """:returns: False after a deadlock with an orchestrator that was looking for work"""
        with suppress(psycopg2.errors.DeadlockDetected):
            self.sql(EMPTY)
            return True
        return False


@pytest.fixture(scope="session")
def proxied_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedSystem]:
    """Run on a separate database server, so that this orchestrator and those of other tests share no orders."""
    folder = tmp_path_factory.mktemp("proxied")
    with EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"}) as server:
        migrate.upgrade(server.url)
        with running(server.url, folder, proxied=True, **SETTINGS) as stack:
            yield ProxiedSystem(stack, server.url)


@pytest.fixture
def proxied(proxied_system: ProxiedSystem) -> ProxiedSystem:
    """The running system, idle and without network faults."""
    proxied_system.reset()
    return proxied_system
