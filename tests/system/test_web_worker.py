"""The web worker answers each request of each connection, once."""

from __future__ import annotations

import resource
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.server.connection import CONTINUE
from tests.credentials import header_line
from tests.faults.raw_http import read_answer
from tests.system.stack import Stack
from tests.waiting import eventually
from tests.web_worker import needs_our_worker

SERVICE = "payments_service"
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def stack(url: str, tmp_path: Path) -> Iterator[Stack]:
    with Stack(url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2") as stack:
        yield stack


@pytest.fixture
def address(stack: Stack) -> tuple[str, int]:
    return start(stack, MOCK_LATENCY_MS="100")


def start(stack: Stack, **environ: str) -> tuple[str, int]:
    """A service with two threads whose payments take a while."""
    stack.start(SERVICE, **environ)
    return stack.address(SERVICE)


def authorize(key: str, token: str = "tok_visa") -> bytes:
    body = (
        f'{{"idempotency_key": "{key}", "user_id": "2f1c9a52-8a5b-4f0e-9f53-6f4f5dd7f6f1", "amount_cents": 1,'
        f' "currency": "USD", "payment_token": "{token}"}}'
    )
    head = f"POST /payments/authorize HTTP/1.1\r\nHost: x\r\n{header_line(SERVICE)}Content-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as client:
        declined = authorize("a", token="tok_decline_stolen")
        client.sendall(declined + LIVE + declined + LIVE + NOWHERE)
        assert [read_answer(client).status for _ in range(5)] == [402, 200, 402, 200, 404]
        client.sendall(LIVE)
        assert read_answer(client).status == 200


def test_more_requests_than_threads_are_all_answered(address: tuple[str, int]) -> None:
    def pay(number: int) -> int:
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(authorize(f"many-{number}"))
            return read_answer(client).status

    with ThreadPoolExecutor(24) as shops:
        assert set(shops.map(pay, range(24))) == {200}


@needs_our_worker
def test_probe_is_answered_while_all_threads_are_busy(stack: Stack) -> None:
    """More clients than threads, including those for probes."""
    address = start(stack, MOCK_LATENCY_MS="2000")
    with ExitStack() as open_sockets:
        watcher, *shops = [open_sockets.enter_context(socket.create_connection(address, timeout=30)) for _ in range(25)]
        for number, shop in enumerate(shops):
            shop.sendall(authorize(f"wait-{number}"))
        waiting = set(shops)
        while len(waiting) > 22:  # then the first have been answered, and the next are being processed
            waiting -= {*select.select(list(waiting), [], [], 30)[0]}
        watcher.sendall(LIVE)
        assert select.select([watcher, *waiting], [], [], 30)[0] == [watcher]
        assert read_answer(watcher).status == 200
        stack.kill(SERVICE)  # stopping would answer them all


def test_client_that_leaves_the_queue_does_not_block_others(address: tuple[str, int]) -> None:
    for number in range(20):
        with socket.create_connection(address, timeout=30) as impatient:
            impatient.sendall(authorize(f"left-{number}"))
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(authorize("patient"))
        assert read_answer(client).status == 200


def test_http_1_0_connection_is_closed_after_the_response(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        answer = read_answer(client)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.recv(1) == b"", "the connection is closed"


def test_100_continue_is_sent_once(address: tuple[str, int]) -> None:
    head, _, body = authorize("continue").partition(b"\r\n\r\n")
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(len(CONTINUE)) == CONTINUE
        client.sendall(body)
        assert read_answer(client).status == 200, "not another 100"


@needs_our_worker
def test_too_large_body_is_refused_before_it_is_sent(address: tuple[str, int]) -> None:
    head = b"POST /payments/authorize HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    head += header_line(SERVICE).encode()
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(head + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n")
        answer = read_answer(client)
        assert (answer.status, answer.headers["connection"]) == (413, "close")


@needs_our_worker
def test_worker_survives_a_lack_of_descriptors(stack: Stack) -> None:
    address = start(stack)
    (worker,) = stack.workers(SERVICE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (50, 50))
    with ExitStack() as open_sockets:
        for _ in range(60):
            open_sockets.enter_context(socket.create_connection(address, timeout=30))
        eventually(lambda: "no file descriptor" in stack.log(SERVICE), 30)
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(LIVE)
        assert read_answer(client).status == 200
    assert stack.workers(SERVICE) == [worker], "the same process"
