"""The catalogue of bad requests: more than a thousand, for every operation of the four services.

Each has its expected answer. None depends on the contents of the tables, except where `asks_database`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from tests.bad_bodies import BODIES, JSON
from tests.bad_values import CALLS, OTHER, Call

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "MAKE")
KEY = {"Idempotency-Key": "a key"}
BAD_KEYS = ["", "x" * 256, "\xfc", "a\tb", "\x80"]
BAD_UUIDS = ["x", "0" * 32, "%00", "%ff", OTHER + "%00", OTHER + "%0A", "%7B" + OTHER + "%7D", "-" * 36, "9" * 1000]
BAD_AUTHORIZATION_IDS = [
    "x",
    OTHER,
    "auth_",
    "auth_%00" + "x" * 23,
    "auth_" + "x" * 24 + "%0A",
    "auth_" + "%C3%A9" * 24,
]
UNKNOWN_PATHS = [
    "/order",
    "/orders/x/y",
    "/docs/../gunicorn.conf.py",
    "/docs/x.js",
    "/.env",
    "/inventory",
    "/%2e%2e/x",
]
BAD_TIMES = [
    *("", "x", "2026-01-31", "2026-01-31T00:00:00", "2026-01-31T00:00:00%2B0000", "2026-02-30T00:00:00Z", "1769817600"),
    *("2026-01-31t00:00:00z", "2026-01-31T24:01:00Z", "2026-01-31T00:00:60Z", "0000-01-01T00:00:00Z", "%00"),
    *("0001-01-01T00:00:00%2B23:59", "2026-01-31T00:00:00.Z", "٢٠٢٦-01-31T00:00:00Z", "2026-01-31T00:00:00%2001:00"),
]
BAD_GATEWAY_IDS = ["", "x" * 256, "%00", "%20", "%C3%BC", "pi_1%0A", "pi_1&gateway_id=pi_2&cursor=a&cursor=b"]
OF_SPAN = {"created_from": BAD_TIMES, "created_before": BAD_TIMES, "cursor": BAD_GATEWAY_IDS, "page": ["2"]}
BAD_QUERIES = {
    "list_orders": {
        "status": ["", "x", "failed", "FAILED,", ",FAILED", "FAILED;COMPLETED", "FAILED&status=COMPLETED", "%00"],
        "refund_status": ["", "x", "NONE", "none,full"],
        "reference": ["", "x" * 256, "%0A", "%20", "%00"],
        "client_request_id": ["", "x" * 256, "%C3%BC", "%0A", "%00"],
        "user_id": ["", "x", OTHER[1:], f"{OTHER},{OTHER}", "%00"],
        "email": ["", "x", "a%40", f"{'a' * 250}%40b.example", "a%40b.example%0A", "%00"],
        "created_from": BAD_TIMES,
        "created_before": BAD_TIMES,
        "limit": ["", "0", "101", "-1", "1.5", "%2B1", "٣", "9" * 18, "1_0"],
        "cursor": ["", "x", "%00", OTHER, "A" * 38, "A" * 37, "_" * 38, "f" + "_" * 37],
        "page": ["1"],
        "timeline": ["true"],
    },
    "list_events": {
        "type": ["", "x", "ORDER.FAILED", "order.failed,", ",order.failed", "order.failed;order.completed", "%00"],
        "order_ledger_id": ["", "x", OTHER[1:], f"{OTHER},{OTHER}", "%00"],
        "after": [
            *("", "x", "%00", OTHER, "0" * 28, f"evt_{'0' * 23}", f"evt_{'0' * 25}", f"evt_{'0' * 24}%0A"),
            *(f"evt_{each * 24}" for each in ("é", "%20", "-", "٣")),
        ],
        "limit": ["", "0", "101", "-1", "1.5", "%2B1", "٣", "9" * 18, "1_0"],
        "cursor": [f"evt_{'0' * 24}"],
        "page": ["1"],
    },
    "get_order (edge)": {
        "wait": ["", "x", "-1", "31", "nan", "inf", "-0.1", "1e400", "0x1", "1_0", "٣", "%00", "%FF", "1&wait=2"],
        "page": ["1"],
    },
    "request_refund": {"dry_run": ["", "1", "yes", "TRUE", "true,true", "true&dry_run=false", "%00"], "wait": ["1"]},
    "get_refund": {"wait": ["", "x", "-1", "31", "nan", "inf", "1e400", "1_0", "%00", "1&wait=2"], "page": ["1"]},
    "list_products": {
        "ids": ["", "x", f"{OTHER},", f"{OTHER}%00", "%ff", f"{OTHER}&limit=5", f"{OTHER}&cursor={OTHER}", f"{OTHER} "],
        "limit": ["", "0", "101", "-1", "1.5", "%2B1", "٣", "1&limit=2", "9" * 18, "1_0", "0x1", "nan"],
        "cursor": ["", "x", "%00", OTHER[1:]],
        "page": ["2"],
    },
    "payments_at_gateway": OF_SPAN,
    "refunds_at_gateway": OF_SPAN,
    "payment_at_gateway": {"gateway_id": BAD_GATEWAY_IDS, "page": ["2"]},
}
BAD_QUERIES["list_products (edge)"] = BAD_QUERIES["list_products"]
BAD_CREDENTIALS = ["", "Bearer", "Bearer nobodys", "Basic nobodys", "nobodys", "Bearer \xff", f"Bearer {'x' * 4000}"]
READER = "reader"
"""A credential that may only read; its secret is the test's."""


@dataclass(frozen=True)
class BadRequest:
    name: str
    service: str
    method: str
    path: str
    status: int
    code: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    faulty: str = ""
    """The field that the answer's `details` must name."""
    credential: str | None = None
    """An Authorization header instead of a good one, or READER."""
    asks_database: bool = False


def bad_requests() -> list[BadRequest]:
    found = [request for name, call in CALLS.items() for request in _of_call(name, call)]
    services = dict.fromkeys(call.service for call in CALLS.values())
    return found + [_nowhere(service, path) for service in services for path in UNKNOWN_PATHS]


def _of_call(name: str, call: Call) -> Iterator[BadRequest]:
    headers = {**(JSON if call.body else {}), **(KEY if call.needs_key else {})}
    body = None if call.body is None else _json(call.body)
    good = BadRequest(name, call.service, call.method, call.path, 400, "validation_error", body, headers)
    if call.body:
        yield from _bad_values(good, call, call.body)
        yield from _missing_and_unknown(good, call, call.body)
    if call.method != "GET":
        yield from _bad_bodies(good)
    if call.needs_key:
        yield from _bad_keys(good)
    if call.service == "web":
        yield from _bad_credentials(good)
    yield from _bad_queries(good)
    yield from _bad_ids(good)
    yield from _bad_methods(good)


def _bad_values(good: BadRequest, call: Call, body: dict[str, Any]) -> Iterator[BadRequest]:
    for path, values in call.bad.items():
        for value in values:
            request = replace(good, name=f"{good.name}: {path} {value!r:.40}", body=_json(changed(body, path, value)))
            if isinstance(value, str) and ("\0" in value or any("\ud800" <= each <= "\udfff" for each in value)):
                yield replace(request, code="malformed_json")
            else:
                yield replace(request, faulty=path.partition(".")[0], asks_database=value == 10**11)


def _missing_and_unknown(good: BadRequest, call: Call, body: dict[str, Any]) -> Iterator[BadRequest]:
    inner = {name: value[0] if isinstance(value, list) else value for name, value in body.items()}
    paths = [name for name in body if name not in call.optional]
    lists = [name for name in body if isinstance(body[name], list) and isinstance(inner[name], dict)]
    paths += [f"{name}.0.{each}" for name in lists for each in inner[name]]
    paths += [f"{name}.{each}" for name in body if isinstance(body[name], dict) for each in inner[name]]
    for path in paths:
        without = _json(changed(body, path, ...))
        yield replace(good, name=f"{good.name}: without {path}", body=without, faulty=path.partition(".")[0])
    for name in call.unknown:
        yield replace(good, name=f"{good.name}: unknown {name!r}", body=_json({**body, name: 1}), faulty=name)


def _bad_bodies(good: BadRequest) -> Iterator[BadRequest]:
    takes_none = good.body is None
    for name, (body, headers, status, code) in BODIES.items():
        if takes_none and not body.strip():
            continue  # this body is valid
        own_headers = {other: value for other, value in good.headers.items() if other != "Content-Type"}
        request = replace(good, body=body, headers=own_headers | headers, status=status, code=code)
        yield replace(request, name=f"{good.name}: {name}", faulty="_schema" if code == "validation_error" else "")
    if takes_none:
        unasked = replace(good, body=b'{"force": true}', headers=good.headers | JSON, faulty="_schema")
        yield replace(unasked, name=f"{good.name}: an unexpected body")


def _bad_keys(good: BadRequest) -> Iterator[BadRequest]:
    other_headers = {name: value for name, value in good.headers.items() if name not in KEY}
    yield replace(good, name=f"{good.name}: no key", headers=other_headers, code="missing_idempotency_key")
    for key in BAD_KEYS:
        headers = {**other_headers, "Idempotency-Key": key}
        yield replace(good, name=f"{good.name}: key {key!r:.20}", headers=headers, faulty="Idempotency-Key")


def _bad_credentials(good: BadRequest) -> Iterator[BadRequest]:
    for credential in BAD_CREDENTIALS:
        request = replace(good, name=f"{good.name}: credential {credential!r:.30}", credential=credential)
        yield replace(request, status=401, code="unauthorized")
    if good.method != "GET":
        yield replace(good, name=f"{good.name}: a reader", credential=READER, status=403, code="forbidden")


def _bad_queries(good: BadRequest) -> Iterator[BadRequest]:
    for field_, values in BAD_QUERIES.get(good.name, {}).items():
        for value in values:
            request = replace(good, name=f"{good.name}: ?{field_}={value:.50}", faulty=field_)
            yield replace(request, path=f"{good.path}?{quote(f'{field_}={value}', safe='=&,%')}")


def _bad_ids(good: BadRequest) -> Iterator[BadRequest]:
    for part in good.path.split("/"):
        is_uuid, is_authorization = part.count("-") == 4, part.startswith("auth_")
        for id_ in BAD_UUIDS if is_uuid else BAD_AUTHORIZATION_IDS if is_authorization else ():
            code = "not_found" if is_uuid else "authorization_not_found"
            request = replace(good, name=f"{good.name}: id {id_:.40}", path=good.path.replace(part, id_))
            yield replace(request, status=404, code=code)


def _bad_methods(good: BadRequest) -> Iterator[BadRequest]:
    taken = {call.method for call in CALLS.values() if (call.service, call.path) == (good.service, good.path)}
    for method in METHODS:
        if method not in taken:
            request = replace(good, name=f"{good.name}: {method}", method=method, status=405)
            yield replace(request, code="method_not_allowed")


def _nowhere(service: str, path: str) -> BadRequest:
    return BadRequest(f"{service}: {path}", service, "GET", path, 404, "not_found")


def changed(body: Any, path: str, value: Any) -> Any:
    """Return a copy of `body` with another value at `path`, such as `items.0.quantity`; `...` removes the field."""
    first, _, rest = path.partition(".")
    if isinstance(body, list):
        return [changed(each, rest, value) for each in body]
    inner = changed(body[first], rest, value) if rest else value
    return {**{name: each for name, each in body.items() if name != first}, **({} if inner is ... else {first: inner})}


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()
