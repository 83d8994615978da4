"""Fault 82: connections that end after a response. Required: only that response says `Connection: close`."""

from __future__ import annotations

import socket

import pytest

from tests.faults.raw_http import CHUNKED, HEAD, LENGTH_2, read_answer
from tests.faults.shared_stack import SharedStack
from tests.web_worker import needs_our_worker

LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
CUT_SHORT = b"PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"
# The bytes sent, and the status of the response.
REQUESTS: dict[str, tuple[bytes, int]] = {
    "accepted body": (HEAD + LENGTH_2, 400),
    "body that is too large": (HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * 900_000, 413),
    "large body that nobody reads": (CUT_SHORT + b" " * 500_000, 404),
    "part of a body that is too large": (HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * 100_000, 413),
    "part of a chunk that is too large": (CHUNKED + b"ffff0\r\n" + b" " * 100_000, 413),
    "body a little too large": (HEAD + b"Content-Length: 65537\r\n\r\n" + b" " * 65537, 413),
    "chunks that are too large": (CHUNKED + b"ffff0\r\n" + b" " * 0xFFFF0 + b"\r\n0\r\n\r\n", 413),
    "chunk without a size": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400),
    "body of the largest size that nobody reads": (
        b"PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + b" " * 65536, 404
    ),
    "malformed head": (HEAD + b"X-A : a\r\n" + LENGTH_2, 400),
    "HTTP/1.0": (b"GET /live HTTP/1.0\r\n\r\n", 200),
    "asked for": (b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    "probe": (LIVE, 200),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_connection_header_tells_whether_the_connection_ends(stack: SharedStack, name: str) -> None:
    request, status = REQUESTS[name]
    with socket.create_connection(stack.address("inventory_service"), timeout=60) as client:
        try:
            client.sendall(request)
        except OSError:  # refused before it was read
            assert status == 413
        first = read_answer(client)
        assert first.status == status
        if first.headers["connection"] == "close":
            assert client.recv(1) == b""
        else:
            client.sendall(LIVE)
            assert read_answer(client).status == 200


@needs_our_worker
def test_request_after_a_probe_is_answered(stack: SharedStack) -> None:
    with socket.create_connection(stack.address("inventory_service"), timeout=60) as client:
        client.sendall(LIVE + HEAD + LENGTH_2 + LIVE)
        assert [read_answer(client).status for _ in range(3)] == [200, 400, 200]
