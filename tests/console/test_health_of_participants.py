"""The health of the participants: asked in the background, and no page waits for it."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from console.participants import EVERY_S, STALE_S, Participants, health_at
from tests.waiting import eventually

HEALTHY_BODY = b'{"status": "healthy", "service": "orders_service", "database": "connected"}'


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Service:
    """What the participants would answer. An answer may be held back."""

    def __init__(self):
        self.answer, self.asked, self.may_answer = ("healthy", ""), [], threading.Event()
        self.may_answer.set()

    def __call__(self, url):
        self.asked.append(url)
        assert self.may_answer.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def participants(service, clock):
    return Participants({"orders_service": "http://orders"}, service, clock)


def state(participants):
    return participants.latest()[0]["state"]


def test_first_look_does_not_wait(participants, service):
    service.may_answer.clear()
    assert state(participants) == "not asked yet"
    service.may_answer.set()
    eventually(lambda: state(participants) == "healthy")


def test_each_is_asked_once_in_five_seconds(participants, service, clock):
    eventually(lambda: state(participants) == "healthy")
    for _ in range(5):
        participants.latest()
    assert len(service.asked) == 1
    clock.now += EVERY_S
    service.answer = ("unhealthy", "it has no database")
    eventually(lambda: state(participants) == "unhealthy")
    assert len(service.asked) == 2


def test_one_that_hangs_is_not_asked_again_meanwhile(participants, service, clock):
    service.may_answer.clear()
    participants.latest()
    clock.now += 10 * EVERY_S
    participants.latest()
    service.may_answer.set()
    eventually(lambda: state(participants) == "healthy")
    assert len(service.asked) <= 2


def test_last_answer_of_a_silent_one_is_remembered(participants, service, clock):
    eventually(lambda: state(participants) == "healthy")
    clock.now += 60
    service.answer = ("silent", "timeout")
    eventually(lambda: state(participants) == "silent")
    assert participants.latest()[0]["answered_ago_s"] == 60


def test_old_answer_says_nothing_about_now(participants, service, clock):
    eventually(lambda: state(participants) == "healthy")
    service.may_answer.clear()
    clock.now += STALE_S
    assert state(participants) == "not asked yet"
    service.may_answer.set()
    eventually(lambda: state(participants) == "healthy")


def test_failure_of_our_own_does_not_stop_the_asking(participants, service, clock):
    service.answer = ZeroDivisionError()
    eventually(lambda: state(participants) == "silent")
    clock.now += EVERY_S
    service.answer = ("healthy", "")
    eventually(lambda: state(participants) == "healthy")


@pytest.fixture
def answering():
    """`answering(503, b"…")` → the address of a service whose health this is."""
    servers = []

    def start(status, body):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/health" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/health")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, HEALTHY_BODY, ("healthy", "")),
        (503, b'{"status": "unhealthy", "database": "disconnected"}', ("unhealthy", "it has no database")),
        (503, b'{"status": "unhealthy", "database": "not migrated"}', ("unhealthy", "its database is not migrated")),
        (502, b"<html>", ("unhealthy", "answers 502")),
        (301, b"", ("unhealthy", "answers 301")),
    ],
)
def test_health_is_what_the_service_answers(answering, status, body, expected):
    assert health_at(answering(status, body)) == expected


def test_service_that_does_not_listen_is_silent():
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        assert health_at(f"http://127.0.0.1:{free.getsockname()[1]}") == ("silent", "no connection")


def test_service_that_does_not_answer_in_time_is_silent(monkeypatch):
    monkeypatch.setattr("console.participants.READ_TIMEOUT_S", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        assert health_at(f"http://127.0.0.1:{listening.getsockname()[1]}") == ("silent", "timeout")
