"""Requests that no service may take, and none may stumble over. For parametrised tests of every route with a body."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

JSON = {"Content-Type": "application/json"}
MALFORMED = {
    "nothing": b"",
    "white space": b" \n ",
    "no JSON": b"order",
    "cut off": b'{"name": "a',
    "two values": b"{} {}",
    "NaN": b'{"quantity": NaN}',
    "infinity": b'{"quantity": -Infinity}',
    "a name twice": b'{"quantity": 1, "quantity": 2}',
    "a NUL": b'{"name": "a\\u0000b"}',
    "a raw NUL": b'{"name": "a\x00b"}',
    "half of a surrogate pair": b'{"name": "\\ud800"}',
    "half of a surrogate pair as a name": b'{"\\udfff": 1}',
    "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "bad UTF-8": b'{"name": "\xff\xfe"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "deep lists": b"[" * 30_000 + b"]" * 30_000,
    "deep objects, never closed": b'{"a":' * 13_000,
    "a number of 5,000 digits": b'{"quantity": ' + b"1" * 5_000 + b"}",
}
UNSUPPORTED = {
    "no media type": (b"{}", {}),
    "another media type": (b"{}", {"Content-Type": "text/plain"}),
    "a form": (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}),
    "another charset": (b"{}", {"Content-Type": "application/json; charset=latin-1"}),
    "gzip": (gzip.compress(b"{}"), {**JSON, "Content-Encoding": "gzip"}),
}
NO_OBJECT = {"a list": b"[]", "null": b"null", "a number": b"1", "a string": b'"a"', "true": b"true"}
TOO_LARGE = {"too large": b'"' + b"a" * 70_000 + b'"', "100,000 levels deep": b"[" * 100_000}

# (body, headers, status, code)
BAD_REQUESTS = [
    *(pytest.param(body, JSON, 400, "malformed_json", id=name) for name, body in MALFORMED.items() if body.strip()),
    *(pytest.param(*request, 415, "unsupported_media_type", id=name) for name, request in UNSUPPORTED.items()),
    *(pytest.param(body, JSON, 400, "validation_error", id=name) for name, body in NO_OBJECT.items()),
    *(pytest.param(body, JSON, 413, "payload_too_large", id=name) for name, body in TOO_LARGE.items()),
]

NO_COUNT: list[Any] = [-1, 0, 1.5, 1.0, True, "1", 10**18, 1e300, None, [], {}]
NO_ID: list[Any] = ["", "x", 1, None, True, [], "{00000000-0000-0000-0000-000000000000}", "0" * 32, "0" * 36]
NO_TEXT: list[Any] = ["", 1, None, True, [], {}, "a\nb", "a\x7f", "a" * 256]


def with_value(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `body` with another value at `path`, for instance `items.0.quantity`."""
    first, _, rest = path.partition(".")
    if isinstance(body, list):
        return [with_value(each, rest, value) if rest else value for each in body]
    return {**body, first: with_value(body[first], rest, value) if rest else value}
