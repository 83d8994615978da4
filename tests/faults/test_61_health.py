"""Fault 61: no database connection or low descriptor is free. Required: `/health` is 503 only if nothing works."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from common.database import database as module
from common.database.database import IDLE_CHECK_S, Database
from common.database.nonblocking import is_ready, open_async
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests.system.stack import Stack
from tests.waiting import eventually
from tests.web_worker import needs_our_worker

SERVICE = "inventory_service"
FD_SETSIZE = 1024  # select() cannot watch a descriptor from this number on
MANY = FD_SETSIZE + 80
WAIT = "SELECT pg_advisory_xact_lock_shared(61)"


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[str]:
    settings = {"fsync": "off", "max_connections": "12", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with EmbeddedPostgres(tmp_path / "postgres", settings=settings) as server:
        migrate.upgrade(server.url)
        yield server.url


@contextmanager
def connection_to(url: str) -> Iterator[Any]:
    """A connection in autocommit mode."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


@contextmanager
def all_connections_taken(url: str) -> Iterator[None]:
    with ExitStack() as taken:
        with suppress(psycopg2.OperationalError):
            while True:
                taken.enter_context(closing(psycopg2.connect(url)))
        yield


def health(stack: Stack) -> tuple[int, str]:
    response = requests.get(f"{stack.url(SERVICE)}/health", timeout=30)
    return response.status_code, response.json()["database"]


def test_health_is_not_affected_by_connections_that_others_take(small_server: str, tmp_path: Path) -> None:
    with Stack(small_server, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2") as stack:
        stack.start(SERVICE)
        stack.product()
        with connection_to(small_server) as cursor, all_connections_taken(small_server):
            eventually(lambda: idle_s(cursor) > IDLE_CHECK_S + 0.1)  # until then, the last statement proves enough
            assert health(stack) == (200, "connected")
            stack.product()


def idle_s(cursor: Any) -> float:
    cursor.execute(
        "SELECT extract(epoch FROM min(clock_timestamp() - state_change)) FROM pg_stat_activity"
        " WHERE application_name = %s", [SERVICE]
    )  # fmt: skip
    return float(cursor.fetchone()[0])


def test_process_is_healthy_by_an_open_connection_alone(small_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_CHECK_S", -1)  # no earlier answer counts
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", -1)
    with (
        closing(Database(small_server, name="idle", size=2)) as database,
        closing(Database(small_server, name="new", size=2)) as new,
    ):
        assert database.ping()
        with all_connections_taken(small_server):
            assert database.ping()
            assert not new.ping(), "a process without a connection cannot work"


def test_health_is_not_affected_by_statements_that_use_all_connections(
    small_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process can neither open a connection nor use one of its own, but the server has answered a moment ago."""
    monkeypatch.setattr(module, "IDLE_CHECK_S", -1)  # not even an answer of this instant counts
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 60)
    with closing(Database(small_server, name="busy", size=2)) as database, connection_to(small_server) as cursor:
        assert database.ping(), "and the schema is known to be current"
        cursor.execute("SELECT pg_advisory_lock(61)")
        threads = [threading.Thread(target=database.one, args=(WAIT,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: waiting(cursor) == 2)
            with all_connections_taken(small_server):
                assert database.ping(timeout=0.1)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(61)")
            for thread in threads:
                thread.join()


def waiting(cursor: Any) -> int:
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'")
    return int(cursor.fetchone()[0])


@needs_our_worker  # with gthread, silent clients hold threads
def test_health_works_with_more_descriptors_than_select_can_watch(url: str, tmp_path: Path) -> None:
    options = {"WEB_CONCURRENCY": "1", "GUNICORN_CMD_ARGS": f"--worker-connections {2 * MANY}"}
    with Stack(url, tmp_path, **options) as stack, ExitStack() as sockets:
        stack.launch(SERVICE)  # nothing has asked it for its health, so it has no connection to the database
        eventually(lambda: "listening at" in stack.log(SERVICE), 30)
        for _ in range(MANY):
            sockets.enter_context(socket.create_connection(stack.address(SERVICE)))
        eventually(lambda: descriptors(stack) > MANY)
        assert health(stack) == (200, "connected")
        assert stack.product()


def test_connection_with_a_high_descriptor_can_be_waited_for(url: str) -> None:
    with ExitStack() as files:
        for _ in range(MANY):
            files.enter_context(Path(os.devnull).open())
        with closing(open_async(url, "test", time.monotonic() + 30)) as connection:
            assert connection.fileno() > FD_SETSIZE
            assert not is_ready(connection, 0)


def descriptors(stack: Stack, service: str = SERVICE) -> int:
    (worker,) = stack.workers(service)
    return sum(1 for _ in Path(f"/proc/{worker}/fd").iterdir())


@pytest.fixture
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While the event is set, opening a connection takes as long as a resolver that never answers."""
    hangs, over, connect = threading.Event(), threading.Event(), psycopg2.connect

    def slow_connect(*args: object, **options: object) -> object:
        if hangs.is_set():
            over.wait(60)
        return connect(*args, **options)

    monkeypatch.setattr(psycopg2, "connect", slow_connect)
    yield hangs
    over.set()


def test_hanging_resolver_affects_only_a_process_without_connections(
    url: str, hanging_resolver: threading.Event
) -> None:
    working, new = Database(url, name="working", size=2), Database(url, name="new", size=2)
    assert working.one("SELECT 1")
    hanging_resolver.set()
    assert working.ping(timeout=0.2)
    assert not new.ping(timeout=0.2)
    assert not new.ping(timeout=0.2), "a second check does not wait for the first one's thread"
    for database in (working, new):
        database.close()
