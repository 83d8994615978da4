"""Fault 61: no database connection or low descriptor is free. Required: `/health` is 503 only if nothing works."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest
import requests

from common.database.database import Database
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests.faults.raw_http import read_answer
from tests.system.stack import Stack
from tests.waiting import eventually

SERVICE = "inventory_service"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = 1_100  # more than select() can watch


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[str]:
    settings = {"fsync": "off", "max_connections": "12", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with EmbeddedPostgres(tmp_path / "postgres", settings=settings) as server:
        migrate.upgrade(server.url)
        yield server.url


@contextmanager
def all_connections_taken(url: str) -> Iterator[None]:
    with ExitStack() as taken:
        with suppress(psycopg2.OperationalError):
            while True:
                taken.enter_context(closing(psycopg2.connect(url)))
        yield


def test_health_is_not_affected_by_connections_that_others_take(small_server: str, tmp_path: Path) -> None:
    with Stack(small_server, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2") as stack:
        stack.start(SERVICE)
        stack.product()
        with all_connections_taken(small_server):
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(small_server)
            for _ in range(3):
                health = requests.get(f"{stack.url(SERVICE)}/health", timeout=30)
                assert (health.status_code, health.json()["database"]) == (200, "connected")
                stack.product()


def test_health_works_with_more_descriptors_than_select_can_watch(url: str, tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    options = {"WEB_CONCURRENCY": "1", "GUNICORN_CMD_ARGS": f"--worker-connections {2 * MANY}"}
    try:
        with Stack(url, tmp_path, **options) as stack, ExitStack() as sockets:
            stack.start(SERVICE)
            clients = [sockets.enter_context(socket.create_connection(stack.address(SERVICE))) for _ in range(MANY)]
            eventually(lambda: descriptors(stack) > MANY)
            for client in clients[-20:]:  # several of them have to open a connection to the database
                client.sendall(HEALTH)
            assert {read_answer(client).status for client in clients[-20:]} == {200}
            assert stack.product()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


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
