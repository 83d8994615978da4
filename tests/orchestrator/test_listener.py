"""The listener on a real server: it receives, reconnects, and detects a silent connection or a pooler."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from common.database import nonblocking
from domain.states import CHANNEL
from orchestrator import listener as module
from orchestrator.listener import Listener
from tests.waiting import eventually


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@contextmanager
def running(url: str, wakes: Wakes) -> Iterator[Listener]:
    stopping = threading.Event()
    listener = Listener(url, {CHANNEL: wakes}, stopping)
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    try:
        eventually(listener.is_listening.is_set, 60)
        yield listener
    finally:
        stopping.set()
        thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROVE_EVERY_S", 0.1)
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 2)


def sql(url: str, statement: str) -> Any:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None


def backends(url: str) -> list[int]:
    rows = sql(url, "SELECT pid FROM pg_stat_activity WHERE application_name = 'orchestrator listen'")
    return [pid for (pid,) in rows]


def test_notification_wakes(url: str) -> None:
    wakes = Wakes()
    with running(url, wakes):
        before = eventually(lambda: wakes.count)
        sql(url, f"NOTIFY {CHANNEL}")
        eventually(lambda: wakes.count > before)


def test_reconnects_and_wakes_after_a_lost_connection(url: str) -> None:
    wakes = Wakes()
    with running(url, wakes) as listener:
        (pid,) = backends(url)
        before = eventually(lambda: wakes.count)
        sql(url, f"SELECT pg_terminate_backend({pid})")
        eventually(lambda: wakes.count > before)
        eventually(lambda: backends(url) and backends(url) != [pid])
        eventually(listener.is_listening.is_set)


def test_listens_before_the_first_wake(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications of orders committed during the first wake must arrive too."""
    heard = []

    def wake() -> None:
        heard.append(bool(backends(url)))

    stopping = threading.Event()
    listener = Listener(url, {CHANNEL: wake}, stopping)
    seen = []
    connect = listener._connect

    def watched() -> Any:
        connection = connect()
        seen.append((list(heard), bool(connection.notifies)))
        return connection

    monkeypatch.setattr(listener, "_connect", watched)
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    eventually(lambda: heard)
    stopping.set()
    thread.join()
    assert seen[0] == ([], True), "woke before it received a notification"
    assert heard[0]


def test_silent_connection_is_detected(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's process is stopped: the socket stays open, and no data arrives."""

    wakes = Wakes()
    with running(url, wakes):
        (pid,) = backends(url)
        before = eventually(lambda: wakes.count)
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: wakes.count > before)
            eventually(lambda: set(backends(url)) - {pid})
        finally:
            os.kill(pid, signal.SIGCONT)


def test_error_is_logged_when_notifications_do_not_arrive(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind a pooler in transaction mode. Here they are sent to another database."""
    open_async = nonblocking.open_async

    def elsewhere(url: str, name: str, deadline: float) -> Any:
        return open_async(url.replace("/holdfast?", "/postgres?") if "check" in name else url, name, deadline)

    monkeypatch.setattr(nonblocking, "open_async", elsewhere)
    wakes = Wakes()
    with caplog.at_level(logging.ERROR), running(url, wakes):
        eventually(lambda: wakes.count)
    assert "by polling only" in caplog.text


def test_connecting_is_retried_until_stopped(url: str, caplog: pytest.LogCaptureFixture) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=Listener(url + "&port=1", {CHANNEL: Wakes()}, stopping).run, daemon=True)
    with caplog.at_level(logging.WARNING):
        thread.start()
        eventually(lambda: caplog.text.count("polling goes on") >= 2)
    stopping.set()
    thread.join()


def test_reconnect_delay_grows_to_five_seconds() -> None:
    delays = module._delays()
    assert [next(delays) for _ in range(8)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


def test_connection_has_tcp_keepalives(url: str) -> None:
    with closing(nonblocking.open_async(url, "test", time.monotonic() + 10)) as connection:
        given = connection.info.dsn_parameters
    assert {name: int(given[name]) for name in ("keepalives_idle", "keepalives_interval", "keepalives_count")} == {
        "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    }  # fmt: skip
    assert int(given["tcp_user_timeout"]) == 10_000  # ms


def test_full_notify_queue_does_not_prevent_listening(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object, __: object) -> bool:
        raise psycopg2.errors.ProgramLimitExceeded("too many notifications in the NOTIFY queue")

    monkeypatch.setattr(Listener, "_hears", refuse)
    wakes = Wakes()
    with caplog.at_level(logging.WARNING), running(url, wakes):
        before = eventually(lambda: wakes.count)
        sql(url, f"NOTIFY {CHANNEL}")
        eventually(lambda: wakes.count > before)
    assert "the queue of NOTIFY is full" in caplog.text
