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

import requests

from common.logs import request_id

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
        headers = {"X-Request-ID": request_id.get(), "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body, separators=(",", ":"))
        try:
            response = self._session().request(
                method,
                self._base_url + path,
                params=params,
                data=data,
                headers=headers,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as error:  # ValueError: the Location of a redirect is no address
            return Nothing(f"{self.name}: {type(error).__name__}")
        return self._read(response, refusals, is_yes)

    def _read(
        self, response: requests.Response, refusals: frozenset[str], is_yes: Callable[[dict[str, Any]], bool]
    ) -> AnswerTo:
        unreadable = Nothing(f"{self.name}: unreadable answer with status {response.status_code}")
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):
            return unreadable
        if not isinstance(body, dict):
            return unreadable
        if 200 <= response.status_code < 300:
            try:
                return Yes(body) if is_yes(body) else unreadable
            except (KeyError, TypeError, ValueError):
                return unreadable
        code = body.get("error")
        is_named = isinstance(code, str) and code in refusals | ALWAYS_REFUSALS
        if response.status_code in REFUSING_STATUSES and is_named:
            details = body.get("details")
            return No(str(code), str(body.get("message", "")), details if isinstance(details, dict) else {})
        return Nothing(f"{self.name}: status {response.status_code}")

    def _session(self) -> requests.Session:
        owner, session = getattr(self._local, "session", (0, None))
        if session is None or owner != os.getpid():  # a thread that forks has its session in the child too
            session = requests.Session()
            self._local.session = os.getpid(), session
            session.trust_env = False  # no proxy and no .netrc from the environment
        return session
