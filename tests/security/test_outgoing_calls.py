"""Outgoing calls go to the address that is set and nowhere else: no redirects, proxies, .netrc or unverified TLS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from common.calls.client import Nothing, ServiceClient
from holdfast_client import Event, HoldfastClient, HoldfastError
from holdfast_client.cli.tunnel import Sender, new_secret
from local import run
from local.shop import Services, Unusable
from tests import credentials
from tests.holdfast_client.test_client_events import event
from tests.tls import TlsServer, private_ca

SECRET = "canary"
Call = Callable[[str], object]
ORDER = {"user_id": "u", "email": "e", "items": [], "payment_token": SECRET}


class Server(ThreadingHTTPServer):
    """Answers every request with a redirect to `location`, and keeps what it got."""

    daemon_threads = True
    location = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        self.server.heard.append((f"{self.command} {self.path}", self.headers["Authorization"]))
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(307 if self.server.location else 418)
        if self.server.location:
            self.send_header("Location", self.server.location + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_CONNECT = handle_any

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def asked() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    with served() as server:
        yield server


def ask_as_service(url: str) -> object:
    return ServiceClient("payments", url).ask("POST", "/payments/authorize", {"payment_token": SECRET})


def place_as_client(url: str) -> object:
    with HoldfastClient(url, "hf_id_secret", retry_for=0, trust_env=False) as client, pytest.raises(HoldfastError):
        client.place_order(**ORDER)  # type: ignore[arg-type]


def buy_in_the_demo(url: str) -> object:
    with pytest.raises(Unusable):
        Services(
            {"EDGE_URL": url, "INVENTORY_SERVICE_URL": url, "PAYMENTS_SERVICE_URL": url, **credentials.SETTINGS}
        ).add_product("Mug", "run")


def forward_to_a_shop(url: str) -> object:
    return Sender(url, new_secret()).send(Event.from_json(event(1)))


def look_at_start(url: str) -> object:
    return run._healthy(url)


CALLS = [
    pytest.param(call, id=call.__name__)
    for call in (ask_as_service, place_as_client, buy_in_the_demo, look_at_start, forward_to_a_shop)
]


@pytest.mark.parametrize("call", CALLS)
def test_redirect_is_not_followed(asked: Server, elsewhere: Server, call: Call) -> None:
    asked.location = elsewhere.url
    call(asked.url)
    assert len(asked.heard) == 1
    assert elsewhere.heard == []


@pytest.mark.parametrize("call", CALLS)
def test_proxy_and_netrc_of_the_environment_are_not_used(
    asked: Server, elsewhere: Server, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [each for each in os.environ if each.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
        monkeypatch.setenv(name.upper(), elsewhere.url)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password of_netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    call(asked.url)
    ((_, authorization),) = asked.heard
    assert elsewhere.heard == []
    assert not (authorization or "").startswith("Basic")


def test_client_of_a_shop_sends_its_key_despite_a_netrc(
    asked: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password of_netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HoldfastClient(asked.url, "hf_id_secret", retry_for=0) as client, pytest.raises(HoldfastError):
        client.get_order("x")
    assert asked.heard == [("GET /orders/x", "Bearer hf_id_secret")]


def test_server_that_cannot_be_verified_gets_nothing(tmp_path: Path) -> None:
    heard: list[bytes] = []
    ca, chain = private_ca(tmp_path)
    with closing(TlsServer(chain, lambda connection: heard.append(connection.recv(65536)))) as server:
        assert ask_as_service(server.url) == Nothing("payments: SSLError")
        assert ask_as_service(server.url.replace("localhost", "127.0.0.1")) == Nothing("payments: SSLError")
        place_as_client(server.url)
        buy_in_the_demo(server.url)
        assert not run._healthy(server.url)
        assert heard == []
        ServiceClient("payments", server.url, str(ca)).ask("GET", "/")
        assert heard[0].startswith(b"GET / ")
