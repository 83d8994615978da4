"""Row 39: NUL, lone surrogates, bad UTF-8, 100 MB, 100,000 levels deep, gzip, chunked. Required: 4xx, memory flat."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import credentials
from tests.answers import Answer, error_faults
from tests.bad_bodies import BODIES, JSON
from tests.bad_requests import bad_requests
from tests.bad_values import CALLS
from tests.faults.raw_http import CHUNKED, HEAD, MALFORMED_HTTP, send
from tests.faults.target import SECRETS, Target

SERVICE = "inventory_service"
MB = 1024 * 1024
LARGE_MB = 100
PEAK_MB = 30  # allowed growth of a worker's memory; a body kept in memory would be more than three times that
OF_A_BODY = tuple(f": {name}" for name in BODIES)
TWO_KEYS = [("one", "another"), ("the same", "the same")]


def raw(target: Target, *parts: bytes, service: str = SERVICE, then: Iterable[bytes] = ()) -> Answer:
    url = urlsplit(target.stack.url(service))
    assert url.hostname
    assert url.port
    return send((url.hostname, url.port), chain(parts, then))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.method != "GET"])
def test_bad_bodies_are_refused_as_documented_and_nothing_is_written(target: Target, name: str) -> None:
    found = [each for each in bad_requests() if each.name.startswith(f"{name}:") and each.name.endswith(OF_A_BODY)]
    assert len(found) > 40
    assert [fault for request in found for fault in target.faults(request)] == []


def test_bad_bodies_in_chunks_are_refused_the_same_way(target: Target) -> None:
    before = target.state()
    head = CHUNKED.replace(b"Content-Type: application/json\r\n", b"")
    for name, (body, headers, status, code) in BODIES.items():
        own = "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode("latin-1")
        answer = raw(
            target, head.replace(b"\r\n\r\n", b"\r\n" + own + b"\r\n"), chunk(body) if body else b"", chunk(b"")
        )
        assert (answer.status, answer.json["error"], list(error_faults(answer))) == (status, code, []), name
    assert target.state() == before


@pytest.mark.parametrize("name", MALFORMED_HTTP)
def test_malformed_http_is_refused_in_the_standard_error_shape(target: Target, name: str) -> None:
    sent, status = MALFORMED_HTTP[name]
    answer = raw(target, sent)
    assert list(error_faults(answer)) == []
    assert answer.status == status


def test_memory_is_flat(target: Target) -> None:
    """A worker buffers at most 64 KB of a body of 100 MB, however it arrives."""
    blocks = {byte: byte * MB for byte in (b" ", b"[")}
    length = b"Content-Length: %d\r\n" % (LARGE_MB * MB)
    bomb = gzip.compress(b" " * LARGE_MB * MB)
    compressed = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    calls = [
        *((413, HEAD + length + b"\r\n", [block] * LARGE_MB) for block in blocks.values()),
        *((413, CHUNKED, [chunk(block)] * LARGE_MB) for block in blocks.values()),
        (413, CHUNKED, [chunk(b" " * LARGE_MB * MB)]),
        (415, HEAD + compressed, [bomb]),
        (415, HEAD + b"Content-Encoding: gzip\r\n" + length + b"\r\n", [bomb] * LARGE_MB),
    ]
    peaks = peak_mb(target)
    for status, head, body in [*calls, *calls]:
        answer = raw(target, head, then=body)
        assert (answer.status, list(error_faults(answer))) == (status, [])
    grown = {pid: peak - peaks[pid] for pid, peak in peak_mb(target).items()}
    assert grown
    assert all(by < PEAK_MB for by in grown.values()), grown


def peak_mb(target: Target) -> dict[int, float]:
    """The peak memory of each worker of the service, by its process id."""
    statuses = {pid: Path(f"/proc/{pid}/status").read_text() for pid in target.stack.workers(SERVICE)}
    return {pid: int(status.partition("VmHWM:")[2].split()[0]) / 1024 for pid, status in statuses.items()}


@pytest.mark.parametrize("keys", TWO_KEYS, ids=str)
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.needs_key])
def test_two_idempotency_keys_are_refused(target: Target, name: str, keys: tuple[str, str]) -> None:
    """A server may join two headers of one name with a comma, and a key may contain a comma."""
    call, before = CALLS[name], target.state()
    credential = credentials.headers_for(call.service)
    if call.service == "web":
        credential = credentials.edge_headers(SECRETS["alice"])
    body = target.real(json.dumps(call.body)).encode()
    headers = [
        *JSON.items(),
        ("Host", "x"),
        *credential.items(),
        ("Content-Length", len(body)),
    ]
    headers += [("Idempotency-Key", key) for key in keys]
    lines = [f"{call.method} {target.real(call.path)} HTTP/1.1", *(f"{key}: {value}" for key, value in headers), "", ""]
    answer = raw(target, "\r\n".join(lines).encode() + body, service=call.service)
    assert (answer.status, answer.json["details"]) == (400, {"Idempotency-Key": ["Given more than once."]})
    assert list(error_faults(answer)) == []
    assert target.state() == before
