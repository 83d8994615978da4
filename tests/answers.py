"""Checks an answer against the service's OpenAPI document, and an error against the standard error shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema_rs

# What a service must never reveal: its code, its SQL, its neighbours and its addresses.
LEAK = re.compile(
    r"Traceback|File \"|psycopg|SELECT |INSERT |gunicorn|werkzeug|/work|127\.0\.0\.1|localhost|:\d{4,5}\b"
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """Header names are in lower case."""
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)


class Document:
    """A service's OpenAPI document, as served."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._validators: dict[int, jsonschema_rs.Validator] = {}

    def faults(self, method: str, path: str, answer: Answer) -> Iterator[str]:
        """Yield each way in which the answer differs from the document."""
        if answer.status >= 400:
            yield from error_faults(answer)
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            if answer.status not in (404, 405):
                yield f"{answer.status} for a call that is not described"
            return
        described = operation["responses"].get(str(answer.status))
        if described is None:
            yield f"{answer.status} is not described"
            return
        for name, header in described["headers"].items():
            if header["required"] and name.lower() not in answer.headers:
                yield f"no header {name}"
        for media_type, content in described["content"].items():
            if answer.headers.get("content-type", "").partition(";")[0] != media_type:
                yield f"media type {answer.headers.get('content-type')}"
            yield from (error.message for error in self._validator(content["schema"]).iter_errors(answer.json))

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        """Find the operation. Concrete paths come before templated ones (OpenAPI, "Path Templating Matching")."""
        for template, operations in sorted(self._spec["paths"].items(), key=lambda item: item[0].count("{")):
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]*", template), path):
                found: dict[str, Any] | None = operations.get(method.lower())
                return found
        return None

    def _validator(self, schema: dict[str, Any]) -> jsonschema_rs.Validator:
        if id(schema) not in self._validators:
            whole = {**schema, "components": self._spec["components"]}
            self._validators[id(schema)] = jsonschema_rs.validator_for(whole)
        return self._validators[id(schema)]


def error_faults(answer: Answer) -> Iterator[str]:
    """Yield each way in which a refusal differs from the standard error shape."""
    try:
        body = answer.json
    except ValueError:
        body = None
    if not isinstance(body, dict) or not {"error", "message", "request_id"} <= set(body):
        yield f"no error body: {answer.body[:200]!r}"
        return
    if set(body) - {"error", "message", "details", "request_id"} or body.get("details", {"a": 1}) == {}:
        yield f"another shape: {sorted(body)}"
    if not re.fullmatch(r"[a-z_]+", body["error"]) or not body["message"].endswith("."):
        yield f"no code or no message: {body['error']!r}, {body['message']!r}"
    if body["request_id"] != answer.headers.get("x-request-id"):
        yield "the request id differs from the header's"
    if found := LEAK.search(answer.body.decode()):
        yield f"it reveals too much: {found[0]!r}"
    if answer.status == 405 and not answer.headers.get("allow"):
        yield "405 without Allow"
