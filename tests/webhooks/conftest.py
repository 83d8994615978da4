"""Orders with events, endpoints, and the store of the process `webhooks`."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.calls.transport import trusting
from common.database.database import Database, Row
from common.webhooks.secrets import new_id, new_secret
from edge_api.app import create_app
from local import roles
from tests.credentials import edge_headers
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver
from webhooks.store import Store

PROJECT = Path(__file__).resolve().parents[2]
QUICK = {
    "APP_ENV": "test",
    "LOG_LEVEL": "INFO",
    "WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
    "WEBHOOK_POLL_INTERVAL_S": "0.05",
    "WEBHOOK_TIMEOUT_S": "2",
}
ORDER = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, due_at, reference, metadata)
VALUES (%(id)s, %(client)s, %(id)s, '', gen_random_uuid(), 'ada@shop.example', 1250, 'EUR', 'r',
  'AWAITING_AUTHORIZATION', now(), 'R-1', '{"till": "7"}')
"""
EVENT = """
INSERT INTO events (id, client, order_ledger_id, sequence, type, status, refunded_cents)
VALUES (%(id)s, %(client)s, %(order)s, %(sequence)s, %(type)s, 'AUTHORIZED', 0) RETURNING id, xid::text AS xid
"""
ENDPOINT = """
WITH endpoint AS (
  INSERT INTO webhook_endpoints (id, client, url, event_types, last_success_at, cursor_xid)
  VALUES (%(id)s, %(client)s, %(url)s, %(event_types)s, now(), pg_snapshot_xmin(pg_current_snapshot())) RETURNING id)
INSERT INTO webhook_secrets (endpoint_id, number, secret) SELECT id, 1, %(secret)s FROM endpoint
"""
DELIVERIES = """
SELECT *, NULLIF(due_at, 'infinity') AS due_at, due_at = 'infinity' AS is_blocked, due_at <= now() AS is_due,
  extract(epoch FROM NULLIF(due_at, 'infinity') - now())::float AS due_in_s
FROM webhook_deliveries WHERE endpoint_id = %(endpoint)s ORDER BY order_ledger_id, sequence
"""
LEASE_S = 60.0
RETRY_NOW = """
UPDATE webhook_deliveries SET due_at = now()
WHERE endpoint_id = %(endpoint)s AND status = 'pending' AND attempts > 0 AND claimed_by IS NULL
"""
LET_TIME_PASS = """
UPDATE webhook_deliveries SET due_at = now(), claimed_until = CASE WHEN claimed_by IS NOT NULL THEN now() END
WHERE endpoint_id = %(endpoint)s AND status = 'pending' AND due_at < 'infinity'
"""


class World:
    """What tests make and look at."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.secrets: dict[str, str] = {}

    def order(self, client: str = "shop") -> str:
        id_ = str(uuid.uuid4())
        self.database.all(ORDER, id=id_, client=client)
        return id_

    def event(self, order: str, sequence: int = 1, type_: str = "order.authorized", client: str = "shop") -> str:
        id_ = new_id("evt_")
        self.database.all(EVENT, id=id_, client=client, order=order, sequence=sequence, type=type_)
        return id_

    def endpoint(
        self, url: str = "https://shop.example/hook", client: str = "shop", event_types: tuple[str, ...] = ("*",)
    ) -> str:
        """An endpoint whose receiver has worked so far, so it may have several deliveries in flight."""
        id_, secret = new_id("we_"), new_secret()
        self.secrets[id_] = secret
        self.database.all(ENDPOINT, id=id_, client=client, url=url, event_types=list(event_types), secret=secret)
        return id_

    def deliveries(self, endpoint: str) -> list[Row]:
        return self.database.all(DELIVERIES, endpoint=endpoint)

    def row(self, endpoint: str) -> Row:
        (row,) = self.database.all("SELECT * FROM webhook_endpoints WHERE id = %(id)s", id=endpoint)
        return row

    def set_delivery(self, message: str, assignment: str) -> None:
        """`set_delivery(event, "due_at = now()")`: let time pass for a delivery, without waiting."""
        self.database.all(f"UPDATE webhook_deliveries SET {assignment} WHERE message_id = %(id)s", id=message)

    def let_retries_be_due(self, endpoint: str) -> None:
        self.database.all(RETRY_NOW, endpoint=endpoint)

    def let_time_pass(self, endpoint: str) -> None:
        """End each lease, and make each delivery due that waits for a time."""
        self.database.all(LET_TIME_PASS, endpoint=endpoint)

    def set_endpoint(self, endpoint: str, assignment: str) -> None:
        self.database.all(f"UPDATE webhook_endpoints SET {assignment} WHERE id = %(id)s", id=endpoint)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=8)
    yield database
    database.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, "me", 4, LEASE_S)


@pytest.fixture
def other_store(database: Database) -> Store:
    """The store of another process."""
    return Store(database, "other", 4, LEASE_S)


@pytest.fixture
def due(store: Store) -> Callable[[], list[str]]:
    """The endpoints with due deliveries."""
    return lambda: [row["id"] for row in store.due()]


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """How a process without further settings verifies receivers."""
    return trusting()


@pytest.fixture
def start(url, tmp_path):
    """`start(WEBHOOK_TIMEOUT_S="1")`: the process, with the role of its own. It is stopped with the test."""
    started = []
    log = tmp_path / "webhooks.log"

    def run(**environ):
        settings = {**os.environ, **QUICK, **roles.address(url, "webhooks"), **environ}
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "webhooks"], cwd=PROJECT, env=settings, stdout=file, stderr=file
            )
        started.append(process)
        eventually(lambda: f'"process_id": {process.pid}' in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        return process

    run.log = log
    yield run
    for process in started:
        process.terminate()
    assert [process.wait(30) for process in started] == [
        -signal.SIGKILL if process.returncode == -signal.SIGKILL else 0 for process in started
    ], log.read_text()


@pytest.fixture
def shown(settings):
    """`shown(endpoint)`: the endpoint as its owner sees it, and its deliveries."""

    def get(endpoint):
        client, path = create_app(settings()).test_client(), f"/webhook_endpoints/{endpoint}"
        answers = [client.get(each, headers=edge_headers()) for each in (path, f"{path}/deliveries")]
        assert [answer.status_code for answer in answers] == [200, 200]
        return answers[0].json, answers[1].json["deliveries"]

    return get


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver
