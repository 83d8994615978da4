"""Calls to another service, and the one place where a response becomes yes, no or nothing (style.md).

*Yes*: a 2xx whose body can be read and is what was asked for. *No*: a refusal that the contract names for this call.
*Nothing*: all else – a timeout, a reset, 5xx, a broken 2xx, a mistake in a deployment. It may or may not have happened.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from common.calls.transport import Transport
from common.json_text import encode
from common.process.logs import request_id

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 8
# Any call may be refused with these; what else is a "no", each call names itself.
ALWAYS_REFUSALS = frozenset({"validation_error", "malformed_json", "missing_idempotency_key", "idempotency_key_reused"})
REFUSING_STATUSES = frozenset({400, 402, 404, 409, 422})


@dataclass(frozen=True)
class Yes:
    body: dict[str, Any]


@dataclass(frozen=True)
class No:
    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Nothing:
    reason: str


AnswerTo = Yes | No | Nothing


class ServiceClient:
    """One service's address. A thread has its own connections to it, kept alive; none outlives a fork."""

    def __init__(self, name: str, base_url: str) -> None:
        self.name, self._base_url = name, base_url
        self._local = threading.local()

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
        refusals: frozenset[str] = frozenset(),
        is_yes: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> AnswerTo:
        """Send one request, once. Never raises for what the network or the other side does.

        :param refusals: the error codes that the contract names for this call
        :param is_yes: whether a 2xx body is the answer to this request; if not, it counts as nothing
        """
        try:
            response = self._transport().send(
                self._prepared(method, path, body, params), timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
            )
            content = response.content  # where the transport is the usual one, it is read only now
        except requests.RequestException as error:
            return Nothing(f"{self.name}: {type(error).__name__}")
        return self._read(response.status_code, content, refusals, is_yes)

    def _read(
        self, status: int, content: bytes, refusals: frozenset[str], is_yes: Callable[[dict[str, Any]], bool]
    ) -> AnswerTo:
        unreadable = Nothing(f"{self.name}: unreadable answer with status {status}")
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            return unreadable
        if not isinstance(body, dict):
            return unreadable
        if 200 <= status < 300:
            try:
                return Yes(body) if is_yes(body) else unreadable
            except (KeyError, TypeError, ValueError):
                return unreadable
        code = body.get("error")
        is_named = isinstance(code, str) and code in refusals | ALWAYS_REFUSALS
        if status in REFUSING_STATUSES and is_named:
            details = body.get("details")
            return No(str(code), str(body.get("message", "")), details if isinstance(details, dict) else {})
        return Nothing(f"{self.name}: status {status}")

    def _prepared(
        self, method: str, path: str, body: dict[str, Any] | None, params: dict[str, str] | None
    ) -> requests.PreparedRequest:
        """As `requests.Session` would prepare it, less what no call of ours needs and the most of the time it takes."""
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._base_url + path + (f"?{urlencode(params)}" if params else "")
        request.headers = CaseInsensitiveDict({"X-Request-ID": request_id.get(), "Content-Type": "application/json"})
        # In UTF-8: with escapes, a long payment token could exceed the limit of a body.
        request.body = None if body is None else encode.readable(body).encode()
        request.prepare_content_length(request.body)  # else the adapter for https would send it in chunks
        return request

    def _transport(self) -> HTTPAdapter:
        owner, transport = getattr(self._local, "transport", (0, None))
        if transport is None or owner != os.getpid():  # a thread that forks has its connection in the child too
            transport = Transport(self._base_url) if self._base_url.startswith("http:") else HTTPAdapter()
            self._local.transport = os.getpid(), transport
        return transport
