"""Request smuggling through deploy/nginx.conf: the Edge API handles no request that nginx did not see.

A smuggled request would be one that nginx takes for a part of another one's body or header, and that the web worker
answers as a request of its own. Each request here has its own X-Request-ID, also the hidden one. nginx and the Edge API
log the ids of the requests that they handle.
"""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.deploy.test_nginx import CONF, nginx
from tests.system.stack import Stack, free_port
from tests.waiting import eventually

HIDDEN = b"smuggled-00000000"
SEEN = "log_format seen '$request_id $http_x_request_id $status'; access_log seen.log seen;"
HOST = b"Host: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: %s\r\n\r\n" % HIDDEN
CHUNK = b"%x\r\n" % len(GET) + GET + b"\r\n0\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(GET)
LAST = b"0\r\n\r\n"
CL = b"Content-Length: %d\r\n" % len(LAST + GET)


def post(headers: bytes, body: bytes = b"", target: bytes = b"/orders", version: bytes = b"1.1") -> bytes:
    line = b"POST " + target + b" HTTP/" + version + b"\r\n"
    return line + HOST + b"Idempotency-Key: k\r\nContent-Type: application/json\r\n" + headers + b"\r\n" + body


TE = b"Transfer-Encoding: chunked\r\n"
# Each hides GET where one of the two servers might take it for a request. Where nginx itself sees two requests,
# "pipelined", both have to appear in its log.
ATTACKS: dict[str, bytes] = {
    "CL.TE": post(CL + TE, LAST + GET),
    "TE.CL": post(TE + b"Content-Length: 4\r\n", CHUNK),
    "TE.TE, the second unknown": post(TE + b"Transfer-Encoding: x\r\n", LAST + GET),
    "TE.TE, the first unknown": post(CL + b"Transfer-Encoding: x\r\n" + TE, LAST + GET),
    "TE with a tab": post(CL + b"Transfer-Encoding:\tchunked\r\n", LAST + GET),
    "TE with a vertical tab": post(CL + b"Transfer-Encoding: \x0bchunked\r\n", LAST + GET),
    "TE in capitals": post(CL + b"TRANSFER-ENCODING: CHUNKED\r\n", LAST + GET),
    "TE with an underscore": post(CL + b"Transfer_Encoding: chunked\r\n", LAST + GET),
    "TE before a space": post(CL + b"Transfer-Encoding : chunked\r\n", LAST + GET),
    "TE over two lines": post(CL + b"Transfer-Encoding:\r\n chunked\r\n", LAST + GET),
    "TE in a list": post(CL + b"Transfer-Encoding: identity, chunked\r\n", LAST + GET),
    "TE with quotes": post(CL + b'Transfer-Encoding: "chunked"\r\n', LAST + GET),
    "TE behind a bare LF": post(CL + b"X-A: a\nTransfer-Encoding: chunked\r\n", LAST + GET),
    "TE behind a bare CR": post(CL + b"X-A: a\rTransfer-Encoding: chunked\r\n", LAST + GET),
    "TE behind a NUL": post(CL + b"X-A: a\x00\r\nTransfer-Encoding: chunked\r\n", LAST + GET),
    "TE in HTTP/1.0": post(CL + TE, LAST + GET, version=b"1.0"),
    "two lengths": post(b"Content-Length: 0\r\n" + LENGTH, GET),
    "two lengths, the other way": post(LENGTH + b"Content-Length: 0\r\n", GET),
    "a list of lengths": post(b"Content-Length: 0, %d\r\n" % len(GET), GET),
    "a length with a sign": post(b"Content-Length: +%d\r\n" % len(GET), GET),
    "a length in hexadecimal": post(b"Content-Length: 0x%x\r\n" % len(GET), GET),
    "a length with a space": post(b"Content-Length: 0 %d\r\n" % len(GET), GET),
    "a length before a space": post(b"Content-Length : %d\r\n" % len(GET), GET),
    "a length with an underscore": post(b"Content_Length: %d\r\n" % len(GET), GET),
    "a length over two lines": post(b"Content-Length:\r\n %d\r\n" % len(GET), GET),
    "a length behind a bare LF": post(b"X-A: a\nContent-Length: %d\r\n" % len(GET), GET),
    "a negative length": post(b"Content-Length: -1\r\n", GET),
    "a chunk with an extension": post(TE, b'0;a="\r\n"\r\n\r\n' + GET),
    "a chunk with an extension behind LF": post(TE, b"2;\nxx\r\n0\r\n\r\n" + GET),
    "a chunk size before a space": post(TE, b"0 \r\n\r\n" + GET),
    "a chunk size with 0x": post(TE, b"0x%x\r\n" % len(GET) + GET + b"\r\n" + LAST),
    "a chunk of a huge size": post(TE, b"fffffffffffffffff0\r\n\r\n" + GET),
    "chunks that end with LF": post(TE, b"0\n\n" + GET),
    "a trailer with a length": post(TE, b"0\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET),
    "a trailer that is not one": post(TE, b"0\r\n" + GET),
    "a header with GET": post(b"X-A: a\r\n\r\n"[:-2] + b"X-B: b\n\n" + GET),
    "a target with GET": b"GET /x%0d%0aHost:%20x%0d%0a%0d%0aGET%20/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with a bare CR": b"GET /\r" + GET + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with a space": b"GET / HTTP/1.1\r\nX: " + GET + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "an absolute target": b"GET http://other/orders HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + GET,
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + GET,
    "an authority": b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n" + GET,
    "HTTP/0.9": b"GET /live\r\n" + GET,
    "HTTP/1.0 with keep-alive": post(b"Connection: keep-alive\r\n", GET, version=b"1.0"),
    "GET with a body": b"GET /live HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + GET,
    "GET with chunks": b"GET /live HTTP/1.1\r\n" + HOST + TE + b"\r\n" + CHUNK,
    "HEAD with a body": b"HEAD /live HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + GET,
    "a large body that is refused": post(b"Content-Length: 65535\r\n", GET.ljust(65535)),
    "Expect": post(b"Expect: 100-continue\r\n" + LENGTH, GET),
    "Upgrade": b"GET /live HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH + b"\r\n" + GET,
    "Connection that names a length": post(b"Connection: Content-Length\r\n" + LENGTH, GET),
    "an empty line first": b"\r\n\r\n" + post(LENGTH, GET),
    "pipelined": post(b"Content-Length: 0\r\n") + GET,
    "pipelined behind chunks": post(TE, LAST) + GET,
}


@pytest.fixture(scope="module", params=["holdfast", "gthread"])
def stack(
    request: pytest.FixtureRequest, migrated_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The Edge API, and an nginx in front of it: its address is `proxy_url`, and its log `seen`."""
    program, port, folder = nginx(), free_port(), tmp_path_factory.mktemp("smuggling")
    settings = {"WEB_WORKER": request.param, "WEB_CONCURRENCY": "1", "LOG_LEVEL": "DEBUG"}
    with Stack(migrated_url, folder, TRUSTED_PROXIES="127.0.0.1", **settings) as stack:
        edge = stack.address("web")[1]
        conf = CONF.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:8000", f"127.0.0.1:{edge}")
        # One kept connection to the Edge API, so that a hidden request would meet the next one.
        conf = conf.replace("access_log off;", SEEN).replace("worker_processes auto", "worker_processes 1")
        (folder / "nginx.conf").write_text(conf)
        stack.start("web")
        process = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"])
        try:
            stack.proxy_url, stack.seen = f"http://127.0.0.1:{port}", folder / "seen.log"  # type: ignore[attr-defined]
            eventually(lambda: listens(port))
            yield stack
        finally:
            process.terminate()
            process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def attack(stack: Stack, sent: bytes) -> None:
    """Send it as all that a connection sends, and read until nginx closes."""
    host, _, port = stack.proxy_url.removeprefix("http://").partition(":")  # type: ignore[attr-defined]
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while client.recv(65536):
                pass


def ids_in_nginx(stack: Stack) -> set[str]:
    lines: list[str] = stack.seen.read_text().splitlines()  # type: ignore[attr-defined]
    return {word for line in lines for word in line.split()[:2]}


def ids_in_edge(stack: Stack) -> set[str]:
    lines = [json.loads(line) for line in stack.log("web").splitlines() if line.startswith("{")]
    return {line["request_id"] for line in lines if "http_status" in line}


@pytest.mark.parametrize("name", ATTACKS)
def test_edge_handles_no_request_that_nginx_did_not_see(stack: Stack, name: str) -> None:
    before = ids_in_edge(stack)
    attack(stack, ATTACKS[name].replace(HIDDEN, f"smuggled-{uuid.uuid4().hex[:8]}".encode()))
    last = str(uuid.uuid4())
    for _ in range(3):
        response = requests.get(f"{stack.proxy_url}/live", headers={"X-Request-ID": last}, timeout=20)  # type: ignore[attr-defined]
        assert (response.status_code, response.json()["status"]) == (200, "alive"), "it got another one's answer"
    eventually(lambda: last in ids_in_nginx(stack) and last in ids_in_edge(stack))
    # nginx logs a request when its response is sent, which may be later.
    eventually(lambda: ids_in_edge(stack) - before <= ids_in_nginx(stack))


def test_check_notices_a_request_that_nginx_did_not_see(stack: Stack) -> None:
    id_ = str(uuid.uuid4())
    requests.get(f"{stack.url('web')}/live", headers={"X-Request-ID": id_}, timeout=20)
    eventually(lambda: id_ in ids_in_edge(stack))
    assert id_ not in ids_in_nginx(stack)
