"""Fault 62: clients that read their responses slowly. Required: they hold no thread."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests.faults.raw_http import read_answer
from tests.system.stack import Stack
from tests.web_worker import needs_our_worker

SERVICE = "inventory_service"
SCRIPT = b"GET /docs/rapidoc-min.js HTTP/1.1\r\nHost: x\r\n\r\n"  # 863 KB, as it does not accept gzip


@pytest.fixture
def stack(url: str, tmp_path: Path) -> Iterator[Stack]:
    with Stack(url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="2") as stack:
        stack.start(SERVICE)
        yield stack


def slow_reader(stack: Stack) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)  # as in a real network, or the kernel buffers it all
    client.settimeout(60)
    client.connect(stack.address(SERVICE))
    return client


def read_slowly(clients: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(0.1):
        for client in clients:
            with suppress(OSError):
                client.recv(500, socket.MSG_DONTWAIT)


@needs_our_worker
def test_slow_readers_do_not_block_other_clients(stack: Stack) -> None:
    over = threading.Event()
    with ExitStack() as sockets:
        clients = [sockets.enter_context(slow_reader(stack)) for _ in range(16)]
        for client in clients:
            client.sendall(SCRIPT)
        reader = threading.Thread(target=read_slowly, args=(clients, over), daemon=True)
        reader.start()
        for _ in range(5):
            stack.product()
        over.set()
        reader.join()


def test_slow_reader_gets_the_whole_response(stack: Stack) -> None:
    expected = requests.get(f"{stack.url(SERVICE)}/docs/rapidoc-min.js", timeout=30).content
    with slow_reader(stack) as client:
        client.sendall(SCRIPT + SCRIPT)
        stack.product()
        for _ in range(2):
            answer = read_answer(client)
            assert answer.headers["connection"] == "keep-alive"
            assert answer.body == expected


def test_browser_gets_a_small_and_cacheable_script(stack: Stack) -> None:
    url = f"{stack.url(SERVICE)}/docs/rapidoc-min.js"
    response = requests.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=30)
    sent = response.raw.read(decode_content=False)
    assert len(sent) < 250_000
    assert len(gzip.decompress(sent)) > 800_000
    assert response.headers["Cache-Control"] == "public, max-age=86400"
    again = requests.get(url, headers={"If-None-Match": response.headers["ETag"]}, timeout=30)
    assert (again.status_code, again.content) == (304, b"")
