"""deploy/nginx.conf with a real nginx in front of gunicorn's own worker: slow clients do not block others."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests import credentials
from tests.answers import error_faults
from tests.faults.raw_http import MALFORMED_HTTP, send
from tests.faults.test_69_waits import place, wait_for
from tests.system.stack import PROJECT, WEB_PROCESSES, Stack, free_port
from tests.waiting import eventually

CONF = (PROJECT / "deploy" / "nginx.conf").read_text()
SCRIPT = b"GET /docs/rapidoc-min.js HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_BODY = b"POST /orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 500\r\n\r\n{"


class Proxied(Stack):
    """A system with nginx in front of `web`."""

    proxy_address: tuple[str, int]

    def address(self, name: str) -> tuple[str, int]:
        return self.proxy_address if name == "web" else super().address(name)

    def url(self, name: str) -> str:
        return "http://{}:{}".format(*self.address(name))


def nginx() -> str:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave("no nginx is installed")
    return program


@pytest.fixture
def stack(url: str, tmp_path: Path) -> Iterator[Proxied]:
    program, port = nginx(), free_port()
    with Proxied(url, tmp_path, WEB_WORKER="gthread", WEB_CONCURRENCY="1", WEB_THREADS="2") as stack:
        edge = Stack.address(stack, "web")[1]
        conf = tmp_path / "nginx.conf"
        conf.write_text(
            CONF.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:8000", f"127.0.0.1:{edge}")
        )
        command = [program, "-p", str(tmp_path), "-c", str(conf), "-e", "stderr"]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        assert "warn" not in tested.stderr
        stack.proxy_address = ("127.0.0.1", port)
        credentials.SERVICE_AT[port] = "web"
        for name in WEB_PROCESSES:
            stack.launch(name)
        eventually(lambda: "listening at" in stack.log("web"), 30)
        with (tmp_path / "nginx.log").open("wb") as log:
            process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=log)
        try:
            for name in WEB_PROCESSES:
                eventually(lambda name=name: stack.is_ready(name), 30)
            yield stack
        finally:
            process.terminate()
            process.wait(30)


def connect(stack: Stack, sent: bytes) -> socket.socket:
    client = socket.create_connection(stack.address("web"), timeout=60)
    client.sendall(sent)
    return client


def test_slow_senders_do_not_block_orders(stack: Proxied) -> None:
    with ExitStack() as sockets:
        for part in (b"", b"GET /or", b"GET /live HTTP/1.1\r\nHost: x\r\n", HALF_BODY):
            for _ in range(10):
                sockets.enter_context(connect(stack, part))
        assert place(stack)


def test_slow_readers_do_not_block_orders(stack: Proxied) -> None:
    over = threading.Event()
    with ExitStack() as sockets:
        clients = []
        for _ in range(16):
            client = sockets.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
            client.connect(stack.address("web"))
            client.sendall(SCRIPT)
            clients.append(client)
        reader = threading.Thread(target=read_slowly, args=(clients, over), daemon=True)
        reader.start()
        assert place(stack)
        over.set()
        reader.join()


def read_slowly(clients: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(0.1):
        for client in clients:
            with suppress(OSError):
                client.recv(500, socket.MSG_DONTWAIT)


def test_wait_ends_with_the_order_or_its_client(stack: Proxied) -> None:
    order = place(stack)
    for _ in range(10):
        wait_for(stack, order).close()
    eventually(
        lambda: (
            requests.get(f"{stack.url('web')}/orders/{order}?wait=0.1", timeout=30).headers.get("Retry-After") is None
        )
    )
    stack.start("orchestrator")
    with wait_for(stack, order) as client:
        assert b"COMPLETED" in client.recv(65536)


def test_address_with_too_many_requests_in_flight_gets_429(stack: Proxied) -> None:
    """The requests wait for the bodies of slow senders, which nginx counts as in flight once it has the head."""

    def refused() -> bool:
        return requests.get(f"{stack.url('web')}/live", timeout=30).status_code == 429

    with ExitStack() as sockets:
        for _ in range(100):
            sockets.enter_context(connect(stack, HALF_BODY))

        def refused_after_one_more() -> bool:
            """One of the hundred is refused itself if nginx still counts a request of the test before."""
            sockets.enter_context(connect(stack, HALF_BODY))
            return refused()

        eventually(refused_after_one_more)
        response = requests.get(f"{stack.url('web')}/live", timeout=30)
    assert (response.json()["error"], response.headers["Retry-After"]) == ("rate_limited", "1")
    assert response.json()["request_id"] == response.headers["X-Request-ID"]
    eventually(lambda: not refused())


def test_malformed_http_is_refused_in_the_standard_shape(stack: Proxied) -> None:
    for name, (sent, _) in MALFORMED_HTTP.items():
        if name != "HTTP/0.9":  # nginx still speaks it
            answer = send(stack.address("web"), [sent])
            assert 400 <= answer.status < 500, name
            assert list(error_faults(answer)) == [], name


def test_stopped_service_is_503_in_the_standard_shape(stack: Proxied) -> None:
    stack.stop("web")
    response = requests.get(f"{stack.url('web')}/orders", timeout=30)
    assert (response.status_code, response.json()["error"]) == (503, "service_unavailable")
    assert (response.headers["Retry-After"], response.headers["Cache-Control"]) == ("1", "no-store")
