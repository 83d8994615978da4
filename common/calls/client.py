"""Calls to another service, and the one place where a response becomes yes, no or nothing.

*Yes*: a 2xx that can be read and answers the request. *No*: a refusal that the API contract names for this call.
*Nothing*: everything else, such as a timeout, a reset, a 5xx, a broken 2xx or a misconfigured deployment. The request
may or may not have taken effect. *NoEffect* and *NotAllowed* are nothings that are known to have had no effect.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

import requests
from requests.structures import CaseInsensitiveDict

from common.calls.transport import Transport, trusting
from common.json_text import encode
from common.json_text.decode import NotJson, decode
from common.json_text.storable import MAX_LENGTH, storable
from common.process import measures
from common.process.logs import request_id, without_secrets
from common.tracing import tracer
from common.tracing.tracer import Kind

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 8
# Any call may be refused with these codes. Each call adds its own.
ALWAYS_REFUSALS = frozenset({"validation_error", "malformed_json", "missing_idempotency_key", "idempotency_key_reused"})
ALARM_EVERY_S = 60.0
MAX_CODE = 100  # characters of an error code that is not in the contract
REFUSING_STATUSES = frozenset({400, 402, 404, 409, 422})
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """A request that was refused or not answered, for the record of a saga."""

    kind: Literal["refused", "unanswered"]
    began: float
    """By `time.monotonic`."""
    took_ms: int
    status: int | None
    """None: no answer came."""
    code: str | None
    message: str


@dataclass(frozen=True)
class _Told:
    attempts: tuple[Attempt, ...] = field(default=(), compare=False, repr=False, kw_only=True)
    """The requests that led to this answer and got no yes."""


@dataclass(frozen=True)
class Yes(_Told):
    body: dict[str, Any]
    is_replayed: bool = field(default=False, compare=False)
    """Whether it is the stored answer to an earlier call with the same key."""


@dataclass(frozen=True)
class No(_Told):
    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    status: int | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Nothing(_Told):
    reason: str
    status: int | None = field(default=None, compare=False, repr=False, kw_only=True)
    """None: no answer came."""
    code: str | None = field(default=None, compare=False, repr=False, kw_only=True)
    """The error code of the answer, or the kind of failure."""
    message: str = field(default="", compare=False, repr=False, kw_only=True)
    """What the answer says about itself."""


@dataclass(frozen=True)
class NotAllowed(Nothing):
    """The service refused our token, so the request had no effect. A deployment has to be corrected."""


@dataclass(frozen=True)
class NoEffect(Nothing):
    """The service could not lock rows that others have locked. The request had no effect."""

    details: dict[str, Any] = field(default_factory=dict)


Answer = Yes | No | Nothing


def word(answer: Answer) -> str:
    """`yes`, `no` or `nothing`."""
    return "yes" if isinstance(answer, Yes) else "no" if isinstance(answer, No) else "nothing"


class ServiceClient:
    """One service's address. Each thread has its own kept-alive connection to it; none survives a fork."""

    def __init__(
        self, name: str, base_url: str, ca_bundle: str = "", authorization: Callable[[], str] | None = None
    ) -> None:
        """:param ca_bundle: the certificates to trust for https, as a file or a folder; empty: the usual ones
        :param authorization: returns the header Authorization of a call
        """
        self.name, self._base_url, self._authorization = name, base_url, authorization
        self._alarm_at = 0.0
        self._tls = trusting(ca_bundle) if base_url.startswith("https:") else None
        self._local = threading.local()

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
        key: str | None = None,
        refusals: frozenset[str] = frozenset(),
        is_yes: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> Answer:
        """Send one request, once. Never raises because of the network or the other side.

        :param key: the header Idempotency-Key
        :param refusals: the error codes that the API contract names for this call
        :param is_yes: whether a 2xx body answers this request; if not, it counts as nothing
        """
        began = time.perf_counter()
        answer = self._answer(lambda: self._send(method, path, body, params, key), refusals, is_yes)
        measures.call(self.name, word(answer), time.perf_counter() - began)
        return answer

    def _answer(
        self,
        send: Callable[[], requests.Response],
        refusals: frozenset[str],
        is_yes: Callable[[dict[str, Any]], bool],
    ) -> Answer:
        try:
            response = send()
        except requests.exceptions.SSLError as error:
            log.warning("%s: the TLS connection failed: %s. REQUESTS_CA_BUNDLE names a private CA.", self.name, error)
            return Nothing(f"{self.name}: SSLError", code="SSLError")
        except requests.RequestException as error:
            return Nothing(f"{self.name}: {type(error).__name__}", code=type(error).__name__)
        answer = self._read(response.status_code, response.content, refusals, is_yes)
        if isinstance(answer, Yes) and response.headers.get("Idempotency-Replayed") == "true":
            return Yes(answer.body, is_replayed=True)
        return answer

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, params: dict[str, str] | None, key: str | None
    ) -> requests.Response:
        """The span has neither the path nor the query: they have ids."""
        attributes = {"http.request.method": method, "peer.service": self.name}
        with tracer.span(f"{method} {self.name}", Kind.CLIENT, attributes) as span:
            response = self._transport().send(
                self._prepared(method, path, body, params, key), timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
            )
            span.set("http.response.status_code", response.status_code)
            if response.status_code >= 400:
                span.fail(str(response.status_code))
            return response

    def _read(
        self, status: int, content: bytes, refusals: frozenset[str], is_yes: Callable[[dict[str, Any]], bool]
    ) -> Answer:
        if status in (401, 403):
            self._alarm(status)
            return NotAllowed(f"{self.name}: status {status}", status=status, code="not_allowed")
        unreadable = Nothing(f"{self.name}: unreadable answer with status {status}", status=status, code="unreadable")
        try:
            body = decode(content)
        except NotJson:
            return unreadable
        if not isinstance(body, dict):
            return unreadable
        if 200 <= status < 300:
            try:
                return Yes(body) if is_yes(body) else unreadable
            except (KeyError, TypeError, ValueError):
                return unreadable
        return self._read_refusal(status, body, refusals | ALWAYS_REFUSALS)

    def _read_refusal(self, status: int, body: dict[str, Any], refusals: frozenset[str]) -> No | Nothing:
        code, details = body.get("error"), body.get("details")
        details = details if isinstance(details, dict) else {}
        if status == 503 and code == "busy":
            return NoEffect(f"{self.name}: busy", details, status=status, code=code)
        if status in REFUSING_STATUSES and isinstance(code, str) and code in refusals:
            return No(code, _message(code, body.get("message", ""), details), details, status=status)
        return Nothing(
            f"{self.name}: status {status}",
            status=status,
            code=_foreign(code, MAX_CODE),
            message=_foreign(body.get("message")) or "",
        )

    def _alarm(self, status: int) -> None:
        """Tell an operator, at most once a minute."""
        if time.monotonic() >= self._alarm_at:
            self._alarm_at = time.monotonic() + ALARM_EVERY_S
            log.error(
                "%s refuses our token with %s, so orders wait. Check SERVICE_TOKEN_KEYS of both processes.",
                self.name, status,
            )  # fmt: skip

    def _prepared(
        self, method: str, path: str, body: dict[str, Any] | None, params: dict[str, str] | None, key: str | None
    ) -> requests.PreparedRequest:
        """The request as `requests.Session` would prepare it, without the slow parts that our calls do not need."""
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._base_url + path + (f"?{urlencode(params)}" if params else "")
        request.headers = CaseInsensitiveDict({"X-Request-ID": request_id.get(), "Content-Type": "application/json"})
        if self._authorization:
            request.headers["Authorization"] = self._authorization()
        if key is not None:
            request.headers["Idempotency-Key"] = key
        if trace_parent := tracer.trace_parent():
            request.headers["traceparent"] = trace_parent
        # In UTF-8: with escapes, a long payment token could exceed the limit of a body.
        request.body = None if body is None else encode.readable(body).encode()
        request.prepare_content_length(request.body)
        return request

    def _transport(self) -> Transport:
        owner, transport = getattr(self._local, "transport", (0, None))
        if transport is None or owner != os.getpid():  # the child of a fork must not use its parent's connection
            transport = Transport(self._base_url, self._tls)
            self._local.transport = os.getpid(), transport
        return transport


def _foreign(text: Any, max_length: int = MAX_LENGTH) -> str | None:
    """Text of an answer that is not in the contract, or None if it is not text."""
    return storable(without_secrets(text), max_length) if isinstance(text, str) else None


def _message(code: str, message: Any, details: dict[str, Any]) -> str:
    """Return a refusal in words. It may become the order's `failure`, which shows no details."""
    if code == "validation_error" and details:
        message = f"The request was rejected as invalid: {encode.readable(details)}"
    return storable(without_secrets(str(message)))  # the other side may repeat what it was sent
