"""The worker, whose threads wait for the connections themselves: each request of each connection is answered, once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.raw_http import read_answer
from tests.system.stack import Stack

SERVICE = "payments_service"
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def address(url: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Of a service with two threads, each of whose payments takes a while."""
    stack = Stack(url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2", MOCK_LATENCY_MS="100")
    try:
        stack.start(SERVICE)
        host, port = stack.url(SERVICE).removeprefix("http://").split(":")
        yield host, int(port)
    finally:
        stack.stop_all()


def authorize(key: str) -> bytes:
    body = (
        f'{{"idempotency_key": "{key}", "user_id": "2f1c9a52-8a5b-4f0e-9f53-6f4f5dd7f6f1", "amount_cents": 1,'
        ' "currency": "USD", "payment_token": "tok_visa"}'
    )
    head = "POST /payments/authorize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_requests_in_one_piece_are_answered_one_after_the_other(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(LIVE + authorize("a") + LIVE + authorize("a") + NOWHERE)
        assert [read_answer(client).status for _ in range(5)] == [200, 201, 200, 201, 404]
        client.sendall(LIVE)
        assert read_answer(client).status == 200


def test_more_requests_than_threads_are_all_answered(address: tuple[str, int]) -> None:
    def pay(number: int) -> int:
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(authorize(f"many-{number}"))
            return read_answer(client).status

    with ThreadPoolExecutor(24) as shops:
        assert set(shops.map(pay, range(24))) == {201}


def test_who_leaves_while_it_waits_for_a_thread_holds_nobody_up(address: tuple[str, int]) -> None:
    for number in range(20):
        with socket.create_connection(address, timeout=30) as impatient:
            impatient.sendall(authorize(f"left-{number}"))
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(authorize("patient"))
        assert read_answer(client).status == 201


def test_http_1_0_is_answered_and_let_go(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        answer = read_answer(client)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.recv(1) == b"", "the connection is closed"
