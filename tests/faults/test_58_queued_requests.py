"""Fault 58, the web server's part: queued requests whose clients left. Required: they are not started."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2

from tests.faults.raw_http import read_answer
from tests.system.stack import Stack
from tests.system.test_web_worker import authorize

SERVICE = "payments_service"
LATENCY_MS = "1500"  # all requests below are sent while the first is processed


def test_queued_request_of_a_departed_client_is_not_started(url: str, tmp_path: Path) -> None:
    with Stack(url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="1") as stack, ExitStack() as sockets:
        stack.start(SERVICE, MOCK_LATENCY_MS=LATENCY_MS)

        def send(key: str) -> socket.socket:
            client = sockets.enter_context(socket.create_connection(stack.address(SERVICE), timeout=60))
            client.sendall(authorize(key))
            return client

        first = [send("first"), send("second")]  # gthread has a second thread
        for number in range(5):
            send(f"left {number}").close()
        patient = send("patient")
        assert [read_answer(client).status for client in (*first, patient)] == [200, 200, 200]
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT idempotency_key FROM payment_authorizations ORDER BY 1")
        assert [key for (key,) in cursor.fetchall()] == ["first", "patient", "second"]
