"""The services that the Edge API calls: the real applications, behind a network that fails on demand."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import requests
from flask import Flask

HttpAnswer = tuple[int, dict[str, str], bytes]
Plan = Callable[[Callable[[], HttpAnswer]], HttpAnswer]
"""What happens to one request; it receives a function that delivers the request."""

PATIENCE_S = 20  # for something that must happen; only a failing test waits so long


class Neighbour:
    """One service. Each request follows the next plan; without a plan it is delivered and answered."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._plans: deque[Plan] = deque()
        self._held: list[Held] = []
        self.requests: list[requests.PreparedRequest] = []

    def then(self, *plans: Plan) -> None:
        self._plans.extend(plans)
        self._held += [plan for plan in plans if isinstance(plan, Held)]

    def let_go(self) -> None:
        """Release all held requests, in case a test failed before it did."""
        for held in self._held:
            held.go()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests, first to last."""
        return [json.loads(request.body or "null") for request in self.requests]

    def __call__(self, request: requests.PreparedRequest) -> HttpAnswer:
        self.requests.append(request)
        if self._plans:
            return self._plans.popleft()(lambda: self._deliver(request))
        return self._deliver(request)

    def _deliver(self, request: requests.PreparedRequest) -> HttpAnswer:
        names = ("Content-Type", "X-Request-ID", "Idempotency-Key")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        answer = self._app.test_client().open(
            request.path_url, method=request.method, data=request.body, headers=headers
        )
        return answer.status_code, dict(answer.headers), answer.data


class Held:
    """A plan: hold the request until `go`, then deliver it or follow another plan."""

    def __init__(self, planned: Plan = lambda deliver: deliver()) -> None:
        self._planned = planned
        self._arrived, self._may_go = threading.Event(), threading.Event()

    def __call__(self, deliver: Callable[[], HttpAnswer]) -> HttpAnswer:
        self._arrived.set()
        assert self._may_go.wait(PATIENCE_S)
        return self._planned(deliver)

    def wait(self) -> None:
        """Wait until the request arrives."""
        assert self._arrived.wait(PATIENCE_S)

    def go(self) -> None:
        self._may_go.set()


def answered(status: int, body: Any, media_type: str = "application/json") -> Plan:
    """A plan: something in between responds instead of the service."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda deliver: (status, {"Content-Type": media_type}, raw)


def request_lost(error: type[Exception] = requests.ConnectionError) -> Plan:
    def plan(deliver: Callable[[], HttpAnswer]) -> HttpAnswer:
        raise error("lost on the way")

    return plan


def answer_lost(error: type[Exception] = requests.ReadTimeout) -> Plan:
    """A plan: the service does its work, and the response is lost."""

    def plan(deliver: Callable[[], HttpAnswer]) -> HttpAnswer:
        deliver()
        raise error("lost on the way back")

    return plan


def changed(**fields: Any) -> Plan:
    """A plan: the service's response with other values; `...` removes a field."""

    def plan(deliver: Callable[[], HttpAnswer]) -> HttpAnswer:
        status, headers, raw = deliver()
        body = {**json.loads(raw), **fields}
        left = {name: value for name, value in body.items() if value is not ...}
        return status, {"Content-Type": headers["Content-Type"]}, json.dumps(left).encode()

    return plan


def cut_short(deliver: Callable[[], HttpAnswer]) -> HttpAnswer:
    """A plan: the response is truncated to half."""
    status, _, raw = deliver()
    return status, {}, raw[: len(raw) // 2]
