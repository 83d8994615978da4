"""One client, many threads, a real server: no call ever gets another call's answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from holdfast_client import HoldfastClient
from holdfast_client.sessions import Sessions

THREADS, CALLS_EACH = 32, 40
PLACED = {"status": "AUTHORIZED", "total_amount_cents": 1, "currency": "USD"}


class Echo(BaseHTTPRequestHandler):
    """Answers each order with its key as the id, and counts connections."""

    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self) -> None:
        super().setup()
        type(self).connections += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({**PLACED, "order_ledger_id": self.headers["Idempotency-Key"]}).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = THREADS
    daemon_threads = True


@pytest.fixture
def echo() -> Iterator[str]:
    Echo.connections = 0
    with Server(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def place(client: HoldfastClient, key: str) -> str:
    order = {"user_id": key, "email": "a@b.example", "items": [], "payment_token": "t", "idempotency_key": key}
    return client.place_order(**order).order_ledger_id  # type: ignore[arg-type]


def test_one_client_serves_many_threads(echo: str) -> None:
    starting = threading.Barrier(THREADS)

    def work(thread: int) -> list[tuple[str, str]]:
        starting.wait()
        keys = [f"{thread}-{number}" for number in range(CALLS_EACH)]
        return [(key, place(client, key)) for key in keys]

    with HoldfastClient(echo, retry_for=0) as client, ThreadPoolExecutor(THREADS) as pool:
        answers = [pair for pairs in pool.map(work, range(THREADS)) for pair in pairs]
    assert len(answers) == THREADS * CALLS_EACH
    assert all(key == answer for key, answer in answers)
    assert Echo.connections <= THREADS  # kept alive and shared


def test_no_two_calls_in_flight_share_a_session() -> None:
    sessions = Sessions(requests.Session)
    with sessions.borrow() as first, sessions.borrow() as second:
        assert first is not second
    with sessions.borrow() as again:
        assert again in (first, second)


def test_close_ends_idle_sessions_now_and_busy_ones_when_they_are_returned() -> None:
    closed: list[requests.Session] = []

    class Recorded(requests.Session):
        def close(self) -> None:
            closed.append(self)

    sessions = Sessions(Recorded)
    with sessions.borrow() as busy:
        with sessions.borrow() as idle:
            pass
        sessions.close()
        assert closed == [idle]
    assert closed == [idle, busy]


FORK = """
import os, sys
from holdfast_client import HoldfastClient

def place(key):
    placed = client.place_order(user_id=key, email="", items=[], payment_token="t", idempotency_key=key)
    assert placed.order_ledger_id == key

with HoldfastClient(sys.argv[1], retry_for=0) as client:
    place("parent")
    child = os.fork()
    place("child" if child == 0 else "parent again")
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""


def test_forked_process_does_not_share_connections_with_its_parent(echo: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORK, echo], check=True, timeout=60)
    assert Echo.connections == 2
