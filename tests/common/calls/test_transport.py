"""The transport adapter on one connection, whatever the server does."""

import fcntl
import socket
import threading
from contextlib import ExitStack, suppress

import pytest
import requests

from common.calls.client import ServiceClient, Yes
from common.calls.transport import MAX_ANSWER_BYTES, Transport

BODY = b'{"id": 1}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n" + BODY
LAST_ANSWER = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENCE = ()
PATIENCE_S = 10


def dripping(data, pause_s=0.05):
    """Send one byte at a time, so that no single wait is long."""
    for at in range(len(data)):
        threading.Event().wait(pause_s)
        yield data[at : at + 1]


class Server:
    """Follows a script: for each connection the answers to its requests, in pieces; then it hangs up."""

    def __init__(self, *connections):
        self.heard = []
        self.hung_up = threading.Semaphore(0)
        self._connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self):
        with suppress(OSError):
            for answers in self._connections:
                self._serve(answers, self._listener.accept()[0])
                self.hung_up.release()

    def _serve(self, answers, connection):
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            connection.settimeout(PATIENCE_S)
            for answer in answers:
                if request := read_request(stream):
                    self.heard.append(request)
                    for piece in answer:
                        connection.sendall(piece)


def read_request(stream):
    """Read a request, without the empty line before the body. Empty if the client has hung up."""
    head = b"".join(iter(stream.readline, b"\r\n")) if stream.peek(1) else b""
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return head + stream.read(length)


@pytest.fixture
def following():
    """`following(script, …)`: a server and a transport to it."""
    with ExitStack() as stack:

        def start(*connections):
            server = Server(*connections)
            transport = Transport(server.url)
            stack.callback(server.close)
            stack.callback(transport.close)
            return server, transport

        yield start


def ask(transport, url="http://127.0.0.1:1", method="GET", body=None, within_s=PATIENCE_S):
    request = requests.Request(method, f"{url}/x?ids=1,2", headers={"X-Request-ID": "r"}, data=body).prepare()
    return transport.send(request, timeout=(PATIENCE_S, within_s))


def test_request_and_answer_pass_unchanged(following):
    server, transport = following([[ANSWER]])
    answer = ask(transport, server.url, "POST", '{"a": 1}')
    assert (answer.status_code, answer.reason, answer.content) == (200, "OK", BODY)
    assert (answer.headers["content-type"], answer.url) == ("application/json", f"{server.url}/x?ids=1,2")
    (request,) = server.heard
    first, *headers, body = request.split(b"\r\n")
    assert (first, body) == (b"POST /x?ids=1,2 HTTP/1.1", b'{"a": 1}')
    host = server.url.removeprefix("http://").encode()
    assert sorted(headers) == [b"Content-Length: 8", b"Host: " + host, b"X-Request-ID: r"]


def test_length_of_the_body_is_sent(following):
    server, _ = following([[ANSWER]])
    assert ServiceClient("orders", server.url).ask("POST", "/x", {"name": "é"}) == Yes({"id": 1})
    (request,) = server.heard
    assert b"Content-Length: 13\r\n" in request
    assert b"chunked" not in request


@pytest.mark.parametrize(
    "pieces",
    [
        [ANSWER[:20], ANSWER[20:-4], ANSWER[-4:]],
        [CHUNKED + b"4\r\n" + BODY[:4] + b"\r\n", b"5\r\n" + BODY[4:] + b"\r\n0\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", ANSWER],
        [b"HTTP/1.1 100 Continue\r\nX-Of: the hint\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ANSWER],
        dripping(ANSWER, 0.001),
    ],
    ids=["in pieces", "in chunks", "after a 100", "after a 100 and a 102", "byte by byte"],
)
def test_answer_is_read_completely_however_it_is_split(following, pieces):
    server, transport = following([pieces, [ANSWER]])
    for _ in range(2):
        answer = ask(transport, server.url)
        assert (answer.status_code, answer.content, "X-Of" in answer.headers) == (200, BODY, False)


def test_time_limit_covers_the_complete_answer(following):
    server, transport = following([dripping(ANSWER)])
    with pytest.raises(requests.ReadTimeout):
        ask(transport, server.url, within_s=0.5)


def test_late_answer_is_not_given_to_the_next_request(following):
    may_answer = threading.Event()

    def late():
        may_answer.wait(PATIENCE_S)
        yield ANSWER.replace(b"1}", b"9}")

    server, transport = following([late()], [[ANSWER]])
    with pytest.raises(requests.ReadTimeout):
        ask(transport, server.url, within_s=0.05)
    may_answer.set()
    assert ask(transport, server.url).content == BODY


def test_connection_is_reused(following):
    server, transport = following([[ANSWER]] * 3)
    assert [ask(transport, server.url).content for _ in range(3)] == [BODY] * 3
    assert len(server.heard) == 3


def test_closing_connection_is_not_reused(following):
    may_hang_up_itself = [LAST_ANSWER], SILENCE  # it waits for another request, or for the client to close
    server, transport = following(may_hang_up_itself, [[ANSWER]])
    assert [ask(transport, server.url).content for _ in range(2)] == [BODY] * 2
    assert len(server.heard) == 2


def test_connection_closed_while_idle_is_reopened_and_the_request_sent_once(following):
    server, transport = following([[ANSWER]], [[ANSWER]], [[ANSWER]])
    ask(transport, server.url)
    assert server.hung_up.acquire(timeout=PATIENCE_S)
    assert ask(transport, server.url, "POST", "once").content == BODY
    assert [request[-4:] for request in server.heard[1:]] == [b"once"]


def test_connection_with_unsolicited_data_is_not_reused(following):
    said = threading.Event()

    def answer_and_more():
        yield ANSWER
        may_go_on.wait(PATIENCE_S)
        yield b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
        said.set()

    may_go_on = threading.Event()
    server, transport = following([answer_and_more(), SILENCE], [[ANSWER]])
    ask(transport, server.url)
    may_go_on.set()
    assert said.wait(PATIENCE_S)
    assert ask(transport, server.url).status_code == 200


def test_sent_request_is_not_repeated(following):
    """The connection ends while the request is in flight: its outcome is unknown."""
    server, transport = following([[ANSWER], SILENCE], [[ANSWER]])
    ask(transport, server.url)
    with pytest.raises(requests.ConnectionError):
        ask(transport, server.url, "POST", "once")
    assert [request[-4:] for request in server.heard[1:]] == [b"once"]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"SSH-2.0-OpenSSH_9.6\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"],
        [CHUNKED + b"zz\r\n"],
        [ANSWER[:-1]],
        [CHUNKED + b"4\r\n" + BODY[:4] + b"\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\n" + BODY],
        [b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"],
        [ANSWER + ANSWER],
        [ANSWER.replace(b"Length: 9", b"Length: %d" % MAX_ANSWER_BYTES), b" " * (MAX_ANSWER_BYTES - 9)],
        SILENCE,
    ],
    ids=[
        "another protocol", "invalid length", "invalid chunk", "truncated", "truncated chunks", "no length", "upgrade",
        "two at once", "too long", "no answer",
    ],
)  # fmt: skip
def test_malformed_answer_closes_the_connection(following, pieces):
    server, transport = following([pieces], [[ANSWER]])
    with pytest.raises(requests.ConnectionError):
        ask(transport, server.url)
    assert ask(transport, server.url).content == BODY


def test_refused_connection_is_a_connection_error():
    with pytest.raises(requests.ConnectionError):
        ask(Transport("http://127.0.0.1:1"))


def test_unknown_host_name_is_a_connection_error():
    with pytest.raises(requests.ConnectionError):
        ask(Transport("http://no-such-host.invalid"))


def test_slow_connect_times_out(monkeypatch):
    def in_vain(*_):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", in_vain)
    with pytest.raises(requests.ConnectTimeout):
        ask(Transport("http://127.0.0.1:1"))


@pytest.fixture
def many_open_files():
    """Open more files than select() can handle."""
    with socket.socket() as one, ExitStack() as stack:
        while (number := fcntl.fcntl(one, fcntl.F_DUPFD, 0)) < 1100:
            stack.enter_context(socket.socket(fileno=number))
        socket.socket(fileno=number).close()
        yield


@pytest.mark.usefixtures("many_open_files")
def test_process_with_many_open_files(following):
    server, transport = following([[ANSWER], [ANSWER]])
    assert [ask(transport, server.url).content for _ in range(2)] == [BODY] * 2
