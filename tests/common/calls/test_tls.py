"""Calls to a service at an https:// address: trust and timeouts."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from common.calls import client
from common.calls.client import Nothing, ServiceClient, Yes
from tests.tls import TlsServer, private_ca

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"id": 1}'
Serving = Callable[..., TlsServer]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def serving(ca: tuple[Path, Path]) -> Iterator[Serving]:
    """`serving(handle)`: a TLS server."""
    with ExitStack() as servers:
        yield lambda handle=answer: servers.enter_context(closing(TlsServer(ca[1], handle)))


def answer(connection: ssl.SSLSocket) -> None:
    while connection.recv(65536):
        connection.sendall(ANSWER)


def dripping(connection: ssl.SSLSocket) -> None:
    """Send one byte at a time, so that no single wait is long."""
    connection.recv(65536)
    connection.sendall(ANSWER[:-1].replace(b"Content-Length: 9", b"Content-Length: 9999"))
    while True:
        connection.sendall(b" ")
        threading.Event().wait(0.02)


def test_server_of_the_given_ca_is_trusted(serving: Serving, ca: tuple[Path, Path]) -> None:
    service = ServiceClient("orders", serving().url, str(ca[0]))
    assert [service.ask("POST", "/x", {}) for _ in range(3)] == [Yes({"id": 1})] * 3


def test_connection_is_kept_alive(serving: Serving, ca: tuple[Path, Path]) -> None:
    connections: list[ssl.SSLSocket] = []
    server = serving(lambda connection: (connections.append(connection), answer(connection)))
    service = ServiceClient("orders", server.url, str(ca[0]))
    assert [service.ask("GET", "/x") for _ in range(3)] == [Yes({"id": 1})] * 3
    assert len(connections) == 1


def test_server_of_another_ca_is_not_trusted(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert ServiceClient("orders", serving().url).ask("GET", "/x") == Nothing("orders: SSLError")
    assert "REQUESTS_CA_BUNDLE" in caplog.text


def test_server_with_another_name_is_not_trusted(serving: Serving, ca: tuple[Path, Path]) -> None:
    url = f"https://127.0.0.1:{serving().port}"
    assert ServiceClient("orders", url, str(ca[0])).ask("GET", "/x") == Nothing("orders: SSLError")


def test_dripping_answer_is_cut(serving: Serving, ca: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT_S", 0.3)
    service = ServiceClient("orders", serving(dripping).url, str(ca[0]))
    assert service.ask("GET", "/x") == Nothing("orders: ReadTimeout")


def test_handshake_that_does_not_end_is_cut(ca: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 0.3)
    with ThreadPoolExecutor(1) as threads, socket.create_server(("127.0.0.1", 0)) as silent:
        service = ServiceClient("orders", f"https://localhost:{silent.getsockname()[1]}", str(ca[0]))
        assert threads.submit(service.ask, "GET", "/x").result(20) == Nothing("orders: ConnectTimeout")
