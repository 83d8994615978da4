"""Row 71: statements fail in the database. Required: the log of the server that we start contains no personal data."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

import edge_api.store
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests.database.statements import statements_of
from tests.waiting import eventually

CANARY = "canary@shop.example"
MODULES = ("edge_api.store", "orchestrator.store", "inventory_service.operations", "orders_service.operations",
           "payments_service.operations", "ops.attention", "ops.audit",
           "webhooks.statements", "edge_api.webhook_statements")  # fmt: skip
ENTRY = {
    "id": "5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
    "client": "shop",
    "key": "key",
    "fingerprint": "f",
    "user_id": "5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
    "email": CANARY,
    "total": 500,
    "currency": "USD",
    "request_id": "r",
    "trace_parent": None,
    "claimant": "edge",
    "lease_s": 30,
    "abandoned_after_s": 60,
    "product_ids": ["5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11"],
    "quantities": [1],
    "reference": None,
    "metadata": None,
    "prices": [500],
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Started as `make run` does, except for fsync and the deadlock timeout."""
    with EmbeddedPostgres(
        tmp_path / "data", {"fsync": "off", "deadlock_timeout": "20ms", "log_lock_waits": "on"}
    ) as server:
        migrate.upgrade(server.url)
        yield server


def insert(connection: psycopg2.extensions.connection, **changes: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(edge_api.store.INSERT_ENTRY, {**ENTRY, **changes})


def test_failing_statements_leave_no_email_in_the_log(server: EmbeddedPostgres) -> None:
    with closing(psycopg2.connect(server.url)) as one, closing(psycopg2.connect(server.url)) as other:
        one.autocommit = True
        for changes, refused in (
            ({"total": 0}, psycopg2.errors.CheckViolation),  # DETAIL: Failing row contains (…)
            ({"currency": "US Dollar"}, psycopg2.errors.StringDataRightTruncation),
            ({"prices": [0]}, psycopg2.errors.CheckViolation),
            ({"user_id": "no id"}, psycopg2.errors.InvalidTextRepresentation),
            ({"product_ids": ENTRY["product_ids"] * 2, "quantities": [1, 1], "prices": [1, 1]},
             psycopg2.errors.UniqueViolation),
        ):  # fmt: skip
            with pytest.raises(refused):
                insert(one, **changes)
        insert(one)
        with one.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        insert(other, id="5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a12", key="locked")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            insert(one, id="5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a13", key="locked")
        with one.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
        # A session killed during this statement makes the server restart, and log the statement.
        waiting = threading.Thread(target=_insert_until_the_end, args=(one,))
        waiting.start()
        eventually(lambda: _waits_for_a_lock(server, one.info.backend_pid))
        os.kill(one.info.backend_pid, signal.SIGKILL)
        waiting.join()
    eventually(lambda: "terminated by signal 9" in server.log.read_text())
    log = server.log.read_text()
    assert log.count("ERROR:") >= 6
    assert CANARY not in log


def _insert_until_the_end(connection: psycopg2.extensions.connection) -> None:
    with pytest.raises(psycopg2.Error):
        insert(connection, id="5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a13", key="locked")


def _waits_for_a_lock(server: EmbeddedPostgres, pid: int) -> bool:
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    with closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute(query, (pid,))
        return cursor.fetchone() == (True,)


def test_only_one_statement_carries_an_email() -> None:
    statements = {
        f"{module}.{name}": text for module in MODULES for name, text in statements_of(import_module(module)).items()
    }
    assert [name for name, text in statements.items() if re.search(r"%\(email\)s", text)] == [
        "edge_api.store.INSERT_ENTRY"
    ]
