"""Fault 67: proxies that disagree about the scheme, or name it twice. Required: such headers are ignored."""

from __future__ import annotations

import pytest

from tests.faults.raw_http import send
from tests.faults.shared_stack import SharedStack

HEADERS = {
    "two names": b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
    "three names": b"X-Forwarded-Protocol: ssl\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Ssl: on\r\n",
    "twice": b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
    "a list": b"X-Forwarded-Proto: https, http\r\n",
    "nonsense": b"X-Forwarded-Proto: gopher\r\nForwarded: proto=\r\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_about_the_scheme_are_ignored(stack: SharedStack, name: str) -> None:
    request = b"GET /live HTTP/1.1\r\nHost: x\r\n" + HEADERS[name] + b"\r\n"
    assert send(stack.address("inventory_service"), [request]).status == 200
