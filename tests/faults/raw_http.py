"""Requests byte by byte, as no HTTP library would send them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress

from tests.answers import Answer
from tests.credentials import header_line
from tests.faults.shared_stack import PATIENCE_S

HEAD = b"POST /inventory/products HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HEAD += header_line("inventory_service").encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH_2 = b"Content-Length: 2\r\n\r\n{}"
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n"

# Name → (bytes to send, status of the refusal). Each is answered at once, although the client could send more.
MALFORMED_HTTP: dict[str, tuple[bytes, int]] = {
    "not HTTP": (b"hello\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /live\r\n\r\n", 400),
    "HTTP/3": (b"GET /live HTTP/3.0\r\nHost: x\r\n\r\n", 400),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a method in lower case": (b"get /live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a path of other bytes": (b"GET /live\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a proxy's line before it": (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n" + LIVE + b"\r\n", 400),
    "an address of 5,000 bytes": (b"GET /live?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a header of 9,000 bytes": (LIVE + b"X-A: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "120 headers": (LIVE + b"X-A: a\r\n" * 120 + b"\r\n", 431),
    "a NUL in a header": (HEAD + b"X-A: a\x00b\r\n" + LENGTH_2, 400),
    "a header over two lines": (HEAD + b"X-A: a\r\n b\r\n" + LENGTH_2, 400),
    "a space before the colon": (HEAD + b"X-A : a\r\n" + LENGTH_2, 400),
    "a header without a colon": (HEAD + b"X-A\r\n" + LENGTH_2, 400),
    "two lengths": (HEAD + b"Content-Length: 1\r\n" + LENGTH_2, 400),
    "a length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (HEAD + b"Content-Length: +2\r\n\r\n{}", 400),
    "an invalid length": (HEAD + b"Content-Length: x\r\n\r\n", 400),
    "a length of 20 digits": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}", 413),
    "an unknown transfer coding": (HEAD + b"Transfer-Encoding: squeezed\r\n\r\n0\r\n\r\n", 400),
    "another expectation": (HEAD + b"Expect: cake\r\n" + LENGTH_2, 417),
    "a chunk with an invalid size": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk of negative size": (CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk longer than it says": (CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk with a bad extension": (CHUNKED + b"2;\x00\r\n{}\r\n0\r\n\r\n", 400),
    "an invalid trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n0\r\n\r\n", 400),
}


def send(address: tuple[str, int], parts: Iterable[bytes]) -> Answer:
    """Send until everything is sent or the server answers or hangs up; return the answer.

    :raises AssertionError: it hung up without an answer
    """
    with socket.create_connection(address, timeout=PATIENCE_S) as client:
        sender = threading.Thread(target=_send_all, args=(client, parts), daemon=True)
        sender.start()
        answer = read_answer(client)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)  # which ends the sender, too
        sender.join()
        return answer


def _send_all(client: socket.socket, parts: Iterable[bytes]) -> None:
    with suppress(OSError):
        for part in parts:
            client.sendall(part)


def read_answer(client: socket.socket) -> Answer:
    received = b""
    client.settimeout(PATIENCE_S)
    while (missing := _missing(received)) > 0:
        more = client.recv(max(missing, 1))
        assert more, f"hung up after {received!r}"
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(status.split()[1]), headers, body)


def _missing(received: bytes) -> int:
    """Return the least number of bytes still to come."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return 1
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
