"""Fault 40: 500 slow sockets, or threads that all hang. Required: other clients are served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from common.server.connection import CONTINUE
from common.server.framing import MAX_BYTES, Framing
from tests.credentials import header_line
from tests.other_session import other_session
from tests.severable import Severable
from tests.system.stack import Stack
from tests.waiting import eventually
from tests.web_worker import needs_our_worker

SLOW = 500
HEAD = b"POST /inventory/products HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HEAD += header_line("inventory_service").encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PARTS = {
    "nothing": b"",
    "half a line": b"POST /inv",
    "half a head": HEAD,
    "half a body": HEAD + b'Content-Length: 60000\r\n\r\n{"name": "',
    "half a chunk": CHUNKED + b"5\r\n{",
    "a chunk like the last one": CHUNKED + b"ff00\r\n0\r\n\r\n",
    "half a body of a padded length": HEAD + b"Content-Length: " + b"0" * 20 + b"500\r\n\r\n{",
    "half a chunk of a padded size": CHUNKED + b"0" * 20 + b"40\r\n\r\n\r\n",
    "half a chunk of an enormous size": CHUNKED + b"1" + b"0" * 16 + b"\r\n{",
    "half a line end": CHUNKED + b"\n",
    "half a trailer": CHUNKED + b"0\r\nX-A: b\r\n",
    "a body that waits for 100 Continue": HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
}
WHOLE = {
    "a request": b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n",
    "with a body": HEAD + b"Content-Length: 2\r\n\r\n{}",
    "in chunks": CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "in chunks with extensions and trailers": CHUNKED + b"1;a=b\r\n{\r\n1\r\n}\r\n0;a=b\r\nX-A: b\r\n\r\n",
    "a chunk without a size": CHUNKED + b"1\r\n{\r\nx\r\n",
    "an unknown expectation": HEAD + b"Expect: wonders\r\nContent-Length: 2\r\n\r\n{}",
    "not HTTP": b"hello\r\n",
    "a line like HTTP": b"HELLO you\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00",
    "a head without an end": b"GET /live HTTP/1.1\r\n" + b"X-A: a\r\n" * (MAX_BYTES // 8),
    "an oversized body": HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * MAX_BYTES,
    "more small chunks than are buffered": CHUNKED + b"1\r\n \r\n" * (MAX_BYTES // 6),
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n",
    "a long line without a chunk's size": CHUNKED + b"0" * 8190,
}
LONGEST = 2_000  # bytes of a request that are looked at one by one
# What a pattern with two parts for the same byte would look at for minutes.
COSTLY = {
    "zeros that are no length": HEAD + b"Content-Length: " + b"0" * 60_000 + b"x\r\n\r\n",
    "blanks that are no length": HEAD + b"Content-Length: " + b" \t" * 30_000 + b"x\r\n\r\n",
    "blanks that are no expectation": HEAD + b"Expect: " + b"\t" * 60_000 + b"x\r\n\r\n",
    "zeros that are no size of a chunk": CHUNKED + b"0" * 60_000,
    "blanks that are no size of a chunk": CHUNKED + b"0" + b"\t" * 60_000 + b"x\r\n",
    "an extension that is none": CHUNKED + b"1;" + b";" * 60_000 + b"\n",
    "a target without an end": b"GET " + b"/ HTTP/1." * 6_000 + b"x\r\n\r\n",
}

SILENT = [("a TLS greeting", 400), ("a line like HTTP", 400), ("a head without an end", 431)]


@pytest.mark.parametrize("name", PARTS)
def test_incomplete_request_gets_no_thread(name: str) -> None:
    assert not Framing().is_complete(PARTS[name] or b"G")


@pytest.mark.parametrize("name", WHOLE)
def test_complete_request_gets_a_thread(name: str) -> None:
    assert Framing().is_complete(WHOLE[name])


@pytest.mark.parametrize("name", [*PARTS, *WHOLE])
def test_request_that_comes_byte_by_byte_is_seen_as_one_that_comes_at_once(name: str) -> None:
    request = {**PARTS, **WHOLE}[name]
    framing = Framing()
    for end in range(1, min(len(request), LONGEST) + 1):
        received, new = request[:end], Framing()
        assert framing.is_complete(received) == new.is_complete(received)
        assert framing.is_truncated(received) == new.is_truncated(received)
        assert framing.expects_continue == new.expects_continue


@pytest.fixture
def stack(url: str, tmp_path: Path) -> Iterator[Stack]:
    with Stack(url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2") as stack:
        yield stack


def connect(stack: Stack, sends: bytes = b"") -> socket.socket:
    client = socket.create_connection(stack.address("inventory_service"), timeout=60)
    client.sendall(sends)
    return client


@needs_our_worker
def test_500_slow_senders_do_not_block_others_and_are_closed(stack: Stack) -> None:
    stack.start("inventory_service")
    with ExitStack() as open_sockets:
        slow = [
            open_sockets.enter_context(connect(stack, list(PARTS.values())[number % len(PARTS)]))
            for number in range(SLOW)
        ]
        stack.product()
        assert requests.get(f"{stack.url('inventory_service')}/health", timeout=30).ok
        assert {rest(client) for client in slow} <= {b"", CONTINUE}, "each is closed without a response in the end"


LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
DRIPPING = {
    "the next request is begun": LIVE + b"G",
    **{name: PARTS[name] for name in list(PARTS)[2:]},
    **{name: WHOLE[name] for name in ("an oversized body", "more small chunks than are buffered")},
}


@needs_our_worker
def test_dripping_sender_holds_no_thread(stack: Stack) -> None:
    stack.start("inventory_service")
    over = threading.Event()
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(connect(stack, sent)) for sent in DRIPPING.values() for _ in range(2)]
        dripping = threading.Thread(target=drip, args=(clients, over), daemon=True)
        dripping.start()
        for _ in range(5):
            stack.product()
        over.set()
        dripping.join()


@pytest.mark.parametrize("name", COSTLY)
@needs_our_worker
def test_costly_request_delays_no_other(stack: Stack, name: str) -> None:
    stack.start("inventory_service")
    with connect(stack, COSTLY[name]) as client:
        stack.product()
        assert answer(client).startswith((b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431"))


@pytest.mark.parametrize("chunk", [b"1\r\n \r\n", b"1;a=b\r\n \r\n"])
@needs_our_worker
def test_body_in_too_many_small_chunks_is_refused(stack: Stack, chunk: bytes) -> None:
    """Its rest is not waited for, although it may be smaller than the limit."""
    stack.start("inventory_service")
    with connect(stack, CHUNKED + chunk * (MAX_BYTES // len(chunk))) as client:
        assert b"payload_too_large" in answer(client)
        assert rest(client) == b""


@needs_our_worker
def test_client_that_reads_nothing_holds_no_thread(stack: Stack) -> None:
    stack.start("inventory_service")
    greedy = b"GET /docs/rapidoc-min.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20
    with ExitStack() as open_sockets:
        for _ in range(2):
            open_sockets.enter_context(connect(stack, greedy))
        eventually(lambda: not hangs(stack), 60)


def test_client_that_expects_100_continue_gets_it_and_a_response(stack: Stack) -> None:
    stack.start("inventory_service")
    with connect(stack, PARTS["a body that waits for 100 Continue"]) as client:
        assert client.recv(len(CONTINUE)) == CONTINUE
        client.sendall(b"{}")
        assert b"validation_error" in answer(client)


def test_request_in_pieces_is_answered(stack: Stack) -> None:
    """Byte by byte on a kept-alive connection, twice, and with the largest body that is allowed."""
    stack.start("inventory_service")
    with connect(stack) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for body in (b"{}", b'{"name": "Coffee"}'):
            for byte in HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body:
                client.send(bytes([byte]))
            assert answer(client).startswith(b"HTTP/1.1 400")
        client.sendall(HEAD + b"Content-Length: 65536\r\n\r\n" + b" " * 65536)
        assert b"malformed_json" in answer(client)


@needs_our_worker
def test_malformed_http_is_refused_at_once(stack: Stack) -> None:
    stack.start("inventory_service")
    with connect(stack, b"hello\r\n") as client:
        assert answer(client).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("name", "status"), SILENT)
@needs_our_worker
def test_silent_client_after_a_malformed_request_holds_no_thread(stack: Stack, name: str, status: int) -> None:
    stack.start("inventory_service")
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(connect(stack, WHOLE[name])) for _ in range(10)]
        stack.product()
        assert all(answer(client).startswith(b"HTTP/1.1 %d" % status) for client in clients)


def test_client_that_hangs_up_during_a_request_holds_no_thread(stack: Stack) -> None:
    stack.start("inventory_service")
    for part in PARTS.values():
        connect(stack, part).close()
    stack.product()


@needs_our_worker
def test_lingering_client_does_not_block_others(stack: Stack) -> None:
    """The clients ask for `Connection: close`, but do not close the connection themselves."""
    stack.start("inventory_service")
    last = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(connect(stack, last)) for _ in range(60)]
        assert requests.get(f"{stack.url('inventory_service')}/live", timeout=30).ok
        assert all(answer(client).startswith(b"HTTP/1.1 200") and rest(client) == b"" for client in clients)


def test_service_stops_while_slow_sockets_are_open(stack: Stack) -> None:
    stack.start("inventory_service")
    with ExitStack() as open_sockets:
        for part in PARTS.values():
            open_sockets.enter_context(connect(stack, part))
        assert stack.stop("inventory_service") == 0


@needs_our_worker
def test_health_responds_while_every_thread_waits_for_a_hanging_database(url: str, tmp_path: Path) -> None:
    way = Severable(url)
    stack = Stack(way.url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2")
    over = threading.Event()
    try:
        stack.start("inventory_service")
        product = stack.product()
        for _ in range(6):  # more than the threads
            threading.Thread(target=keep_reading, args=(stack, product, over), daemon=True).start()
        with locked_products(url) as waiting:  # until each of the two threads has its own connection
            eventually(lambda: waiting() == 2, 60)
        way.be_silent()
        eventually(lambda: hangs(stack) and probe(stack) == [("disconnected", 503), ("alive", 200)], 60)
    finally:
        over.set()
        way.stop()  # disconnects every waiting session
        stack.stop_all()


def drip(clients: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(0.05):
        for client in clients:
            with suppress(OSError):
                client.send(b"0")


def rest(client: socket.socket) -> bytes:
    """Return everything that arrives until the server closes the connection."""
    with suppress(ConnectionResetError):
        return client.recv(65536)
    return b""


def hangs(stack: Stack) -> bool:
    """Whether no thread is free for an ordinary request."""
    try:
        requests.get(f"{stack.url('inventory_service')}/openapi.json", timeout=0.5)
    except requests.Timeout:
        return True
    return False


def probe(stack: Stack) -> list[tuple[str, int]]:
    health, live = (requests.get(f"{stack.url('inventory_service')}/{name}", timeout=30) for name in ("health", "live"))
    return [(health.json()["database"], health.status_code), (live.json()["status"], live.status_code)]


@contextmanager
def locked_products(url: str) -> Iterator[Callable[[], int]]:
    """Block every read of a product. Yields a function that counts the waiting sessions."""
    with other_session(url) as cursor:
        cursor.execute("LOCK TABLE products")

        def count() -> int:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # otherwise the first count is repeated
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return int(cursor.fetchone()[0])

        yield count


def keep_reading(stack: Stack, product: str, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(requests.RequestException):
            requests.get(f"{stack.url('inventory_service')}/inventory/products/{product}/availability", timeout=60)


def answer(client: socket.socket) -> bytes:
    """Read one response with its body, without a preceding 100 Continue."""
    received = b""
    while not (end := received.find(b"\r\n\r\n")) > 0:
        received += client.recv(65536) or pytest.fail(f"hung up after {received!r}")
        received = received.removeprefix(CONTINUE)
    length = int(received.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(received) < end + 4 + length:
        received += client.recv(65536) or pytest.fail(f"hung up after {received!r}")
    return received
