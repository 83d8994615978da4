"""What both web workers refuse before a service sees it, and the headers of these refusals."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests import credentials
from tests.answers import Answer, error_faults
from tests.faults.raw_http import MALFORMED_HTTP, read_answer, send
from tests.system.stack import Stack

MAX_BODY = 64 * 1024
HEAD = b"POST /inventory/products HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def post(rest: bytes) -> bytes:
    """A request with a credential, and with these further headers and body."""
    token = credentials.service_headers("inventory_service")["Authorization"]
    return HEAD + f"Authorization: {token}\r\n".encode() + rest


@pytest.fixture(scope="module", params=["holdfast", "gthread"])
def stack(
    request: pytest.FixtureRequest, migrated_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with Stack(migrated_url, tmp_path_factory.mktemp("web"), WEB_WORKER=request.param, WEB_CONCURRENCY="1") as stack:
        stack.start("inventory_service")
        yield stack


def sent(stack: Stack, *parts: bytes) -> Answer:
    return send(stack.address("inventory_service"), parts)


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["body at once", "body on request"])
def test_large_body_is_refused_before_it_is_sent(stack: Stack, expect: bytes) -> None:
    head = post(expect + b"Content-Length: 10000000000\r\n\r\n")
    with socket.create_connection(stack.address("inventory_service"), timeout=20) as client:
        client.sendall(head)
        answer = read_answer(client)
    assert (answer.status, answer.json["error"]) == (413, "payload_too_large")
    assert list(error_faults(answer)) == []


def test_large_body_in_chunks_is_refused(stack: Stack) -> None:
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    answer = sent(stack, post(b"Transfer-Encoding: chunked\r\n\r\n"), *[chunk] * 100)
    assert (answer.status, answer.json["error"]) == (413, "payload_too_large")


def test_largest_body_is_read(stack: Stack) -> None:
    body = b"{}".ljust(MAX_BODY - 1)
    answer = sent(stack, post(b"Content-Length: %d\r\n\r\n" % len(body) + body))
    assert (answer.status, answer.json["error"]) == (400, "validation_error")


@pytest.mark.parametrize(
    "body", [b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 60_000]
)
def test_deep_body_is_refused(stack: Stack, body: bytes) -> None:
    answer = sent(stack, post(b"Content-Length: %d\r\n\r\n" % len(body) + body))
    assert (answer.status, answer.json["error"]) == (400, "malformed_json")
    assert "RecursionError" not in stack.log("inventory_service")


@pytest.mark.parametrize("name", MALFORMED_HTTP)
def test_refusal_by_the_worker_has_the_headers_of_all_answers(stack: Stack, name: str) -> None:
    if name == "HTTP/0.9" and "gthread" in stack.log("inventory_service"):
        pytest.skip("it has no headers")
    answer = sent(stack, MALFORMED_HTTP[name][0])
    assert 400 <= answer.status < 500
    assert headers_that_are_missing(answer.headers) == []


@pytest.mark.parametrize("path", ["/", "/live", "/health", "/docs", "/docs/page.css", "/openapi.json", "/nowhere",
                                  "/inventory/products", "/inventory/products/x/availability"])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "TRACE"])
def test_every_answer_has_the_same_headers(stack: Stack, method: str, path: str) -> None:
    response = requests.request(method, stack.url("inventory_service") + path, timeout=20)
    lower = {name.lower(): value for name, value in response.headers.items()}
    assert headers_that_are_missing(lower, may_be_stored=path.startswith("/docs") or path == "/openapi.json") == []


def headers_that_are_missing(headers: dict[str, str], *, may_be_stored: bool = False) -> list[str]:
    missing = [] if headers.get("x-content-type-options") == "nosniff" else ["nosniff"]
    if headers.get("cache-control") != "no-store" and not may_be_stored:
        missing.append("no-store")
    if re.search(r"\d", headers.get("server", "")) or "x-powered-by" in headers:
        missing.append("no version")
    return missing


@pytest.mark.parametrize(
    ("proxies", "proto", "expected"),
    [("127.0.0.1", "https", "max-age=31536000"), ("127.0.0.1", "http", None), ("10.0.0.0/8", "https", None)],
)
def test_only_https_is_announced_if_a_trusted_proxy_says_so(
    migrated_url: str, tmp_path: Path, proxies: str, proto: str, expected: str | None
) -> None:
    with Stack(migrated_url, tmp_path, TRUSTED_PROXIES=proxies, WEB_CONCURRENCY="1") as stack:
        stack.start("orders_service")
        for path in ("/live", "/nowhere", "/docs"):
            response = requests.get(
                stack.url("orders_service") + path, headers={"X-Forwarded-Proto": proto}, timeout=20
            )
            assert response.headers.get("Strict-Transport-Security") == expected, path
