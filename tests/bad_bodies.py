"""Bodies that every call of every service must refuse."""

from __future__ import annotations

import gzip

import pytest

JSON = {"Content-Type": "application/json"}
MALFORMED = {
    "nothing": b"",
    "white space": b" \n ",
    "no JSON": b"order",
    "cut off": b'{"name": "a',
    "two values": b"{} {}",
    "NaN": b'{"quantity": NaN}',
    "not a number": b'{"quantity": nan}',
    "infinity": b'{"quantity": Infinity}',
    "minus infinity": b'{"quantity": -Infinity}',
    "a trailing comma": b'{"quantity": 1,}',
    "a comment": b'{"quantity": 1 /* one */}',
    "single quotes": b"{'quantity': 1}",
    "no quotes": b"{quantity: 1}",
    "a leading zero": b'{"quantity": 01}',
    "hexadecimal": b'{"quantity": 0x1}',
    "an invalid escape": b'{"name": "\\x41"}',
    "a name twice": b'{"quantity": 1, "quantity": 2}',
    "a name twice, once escaped": b'{"quantity": 1, "\\u0071uantity": 2}',
    "a name twice, further down": b'{"items": [{"quantity": 1, "quantity": 1}]}',
    "a NUL": b'{"name": "a\\u0000b"}',
    "a NUL in a name": b'{"a\\u0000b": 1}',
    "a raw NUL": b'{"name": "a\x00b"}',
    "half of a surrogate pair": b'{"name": "\\ud800"}',
    "half of a surrogate pair as a name": b'{"\\udfff": 1}',
    "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "bad UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 cut off": b'{"name": "\xe2\x82',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
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
    "multipart": (b"--x--", {"Content-Type": "multipart/form-data; boundary=x"}),
    "a similar media type": (b"{}", {"Content-Type": "application/json+x"}),
    "an invalid media type": (b"{}", {"Content-Type": "\xff"}),
    "deflate": (b"{}", {**JSON, "Content-Encoding": "deflate"}),
    "gzip": (gzip.compress(b"{}"), {**JSON, "Content-Encoding": "gzip"}),
}
NOT_AN_OBJECT = {"a list": b"[]", "null": b"null", "a number": b"1", "a string": b'"a"', "true": b"true"}
TOO_LARGE = {
    "too large": b'"' + b"a" * 70_000 + b'"',
    "too much white space": b" " * 70_000,
    "100,000 levels deep": b"[" * 100_000,
}
# Name → (body, headers, status, code)
BODIES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    **{name: (body, JSON, 400, "malformed_json") for name, body in MALFORMED.items()},
    **{name: (*request, 415, "unsupported_media_type") for name, request in UNSUPPORTED.items()},
    **{name: (body, JSON, 400, "validation_error") for name, body in NOT_AN_OBJECT.items()},
    **{name: (body, JSON, 413, "payload_too_large") for name, body in TOO_LARGE.items()},
}
BAD_REQUESTS = [pytest.param(*request, id=name) for name, request in BODIES.items()]
