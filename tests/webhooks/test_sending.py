"""One request, and what its answer means."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import threading
from contextlib import closing, suppress

import pytest

from tests.tls import TlsServer, private_ca
from tests.webhooks.receiver import Receiver
from webhooks.__main__ import _trusting
from webhooks.delivery import Answer, NoAnswer
from webhooks.sending import Sender

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def sender(tls):
    return Sender(tls, LOOPBACK, 10)


@pytest.fixture
def raw():
    """`raw(b"…")`: the URL of a server that answers this to every request, in pieces, and then waits."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        kept = []

        def make(*pieces, close=False):
            def serve():
                with suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        kept.append(connection)
                        connection.recv(65536)
                        for piece in pieces:
                            connection.sendall(piece)
                        if close:
                            connection.close()

            threading.Thread(target=serve, daemon=True).start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}/"

        yield make
        for connection in kept:
            connection.close()


def reason(outcome):
    assert isinstance(outcome, NoAnswer), outcome
    return outcome.reason


def test_request_has_the_headers_the_body_and_the_path(sender, receiver):
    headers = {"webhook-id": "evt_1", "Content-Type": "application/json"}
    assert sender.post(f"{receiver.url}/hook?a=1&b=%20", headers, b'{"a": 1}') == Answer(204)
    (heard,) = receiver.heard
    assert (heard.path, heard.body) == ("/hook?a=1&b=%20", b'{"a": 1}')
    assert heard.headers["Host"] == receiver.url.removeprefix("http://")
    assert heard.headers["webhook-id"] == "evt_1"


@pytest.mark.parametrize("status", [200, 201, 301, 302, 307, 308, 400, 410, 500, 503])
def test_answer_is_the_status_and_redirects_are_not_followed(sender, receiver, status):
    with Receiver() as elsewhere:
        receiver.answer, receiver.headers = lambda _: status, {"Location": f"{elsewhere.url}/"}
        assert sender.post(f"{receiver.url}/", {}, b"{}") == Answer(status)
        assert elsewhere.heard == []


def test_first_kibibyte_of_the_answer_is_kept_as_text(sender, receiver):
    receiver.answer, receiver.text = lambda _: 500, b"a\0\xff" + b"x" * 5000
    outcome = sender.post(f"{receiver.url}/", {}, b"{}")
    assert isinstance(outcome, Answer)
    assert outcome.body.startswith("a �xxx")
    assert len(outcome.body) <= 1024


def test_environment_has_no_say(sender, receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert sender.post(f"{receiver.url}/", {}, b"{}") == Answer(204)


def test_receiver_that_hangs_is_given_up(tls, receiver):
    assert reason(Sender(tls, LOOPBACK, 0.2).post(f"{receiver.url}/hang", {}, b"{}")) == "No answer came within 0.2 s."


def test_endless_answer_is_given_up_after_the_limit(tls):
    """The limit is for the whole answer, not for each byte."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def drip():
            connection, _ = listener.accept()
            with suppress(OSError), connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(300):
                    connection.sendall(b"x: y\r\n")
                    threading.Event().wait(0.02)

        threading.Thread(target=drip, daemon=True).start()
        outcome = Sender(tls, LOOPBACK, 0.5).post(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, b"{}")
        assert reason(outcome) == "No answer came within 0.5 s."


def test_status_counts_although_the_body_does_not_come(tls, raw):
    url = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    assert Sender(tls, LOOPBACK, 0.5).post(url, {}, b"{}") == Answer(200, "abc")


def test_interim_answer_is_not_the_answer(sender, raw):
    url = raw(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    assert sender.post(url, {}, b"{}") == Answer(503)


def test_body_until_the_connection_closes_is_read(sender, raw):
    assert sender.post(raw(b"HTTP/1.0 200 OK\r\n\r\nfine", close=True), {}, b"{}") == Answer(200, "fine")


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b""],
)
def test_what_is_not_http_is_no_answer(sender, raw, answer):
    assert reason(sender.post(raw(answer, close=True), {}, b"{}"))


def test_endless_headers_are_given_up(sender, raw):
    assert reason(sender.post(raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000), {}, b"{}"))


def test_answer_without_end_is_read_to_its_first_kibibyte(sender):
    """And the connection is closed, which the receiver notices."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        ended = threading.Event()

        def flood():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                with suppress(OSError):
                    while True:
                        connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            ended.set()

        threading.Thread(target=flood, daemon=True).start()
        outcome = sender.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, b"{}")
        assert outcome == Answer(200, "x" * 1024)
        assert ended.wait(20)


def test_one_huge_header_is_given_up(sender, raw):
    assert "more than 65536 bytes" in reason(sender.post(raw(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000), {}, b"{}"))


def test_compressed_answer_is_kept_as_it_is(sender, receiver):
    receiver.text, receiver.headers = gzip.compress(b"x" * 1_000_000), {"Content-Encoding": "gzip"}
    outcome = sender.post(f"{receiver.url}/", {}, b"{}")
    assert isinstance(outcome, Answer)
    assert len(outcome.body) <= 1024
    assert "xxx" not in outcome.body


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://nowhere.invalid/", f"http://{'a' * 70}.example/", "http://user:pw@127.0.0.1/",
     "http://127.0.0.1:99999/", "http://127.0.0.1/\r\nX-Evil: 1", "http://127.0.0.1/a b", "http:///x"],
)  # fmt: skip
def test_url_that_cannot_be_reached_is_no_answer(sender, url):
    assert reason(sender.post(url, {}, b"{}")).endswith(".")


def test_only_https_where_that_is_asked_for(tls, receiver):
    outcome = Sender(tls, LOOPBACK, 5, only_https=True).post(f"{receiver.url}/", {}, b"{}")
    assert "https://" in reason(outcome)
    assert receiver.heard == []


# TLS


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def secured(ca):
    heard = []

    def handle(connection):
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = TlsServer(ca[1], handle)
    server.heard = heard
    yield server
    server.close()


def test_private_ca_is_trusted_beside_the_usual_ones(ca, secured):
    context = _trusting(str(ca[0]))
    assert len(context.get_ca_certs()) > 10
    assert Sender(context, LOOPBACK, 10).post(f"{secured.url}/", {}, b"{}") == Answer(200)


def test_certificate_is_verified(tls, secured):
    assert "certificate is not trusted" in reason(Sender(tls, LOOPBACK, 10).post(f"{secured.url}/", {}, b"{}"))
    assert secured.heard == []


def test_certificate_must_be_for_the_host_of_the_url(ca, secured):
    """It names `localhost`. The connection to the same address under another name is refused."""
    outcome = Sender(_trusting(str(ca[0])), LOOPBACK, 10).post(f"https://127.0.0.1:{secured.port}/", {}, b"{}")
    assert "certificate is not trusted" in reason(outcome)


def test_server_without_tls_is_no_answer(sender, receiver):
    assert "TLS" in reason(sender.post(receiver.url.replace("http:", "https:"), {}, b"{}"))
