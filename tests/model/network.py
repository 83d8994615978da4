"""Requests, responses, and what the network may do to a call.

A call is made by the real code of the caller, with a client whose responses are known in advance. A call that needs one
more response stops there, and the model decides what happens to its request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from common.calls.client import Answer, Nothing, ServiceClient
from common.json_text import encode


class Request(NamedTuple):
    """A request as its participant sees it."""

    service: str
    method: str
    path: str
    body: str
    key: str = ""
    """The header Idempotency-Key."""


class Response(NamedTuple):
    """A response. The body has only the fields that a caller reads."""

    status: int
    body: str


class Fate(NamedTuple):
    """What happens to one call."""

    name: str
    arrives: bool = True
    """The participant handles the request before the caller continues."""
    is_answered: bool = True
    """The caller reads the response. If not, it has a *nothing*: a timeout, a reset, a 5xx or an unreadable body."""
    may_arrive_later: bool = False
    """The request, or a copy of it, is still on its way. It may arrive at any later moment, or never."""


ANSWERED = Fate("answered")
# A request that is lost is a late one that never arrives.
FATES = (
    ANSWERED,
    Fate("answer lost", is_answered=False),
    Fate("late", arrives=False, is_answered=False, may_arrive_later=True),
    Fate("doubled", may_arrive_later=True),
)


class Asked(Exception):
    """The caller has sent a request whose response is not known yet."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


class Script(ServiceClient):
    """The real client, with the responses that its calls get, in order. None: no response."""

    def __init__(self, name: str, responses: list[Response | None]) -> None:
        super().__init__(name, f"http://{name}")
        self._responses = responses

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
        """:raises Asked: there is no response for this call"""
        if not self._responses:
            self._stop(method, path, body, key)
        response = self._responses.pop(0)
        if response is None:
            return Nothing("no response")
        return self._read(response.status, response.body.encode(), refusals, is_yes)

    def _stop(self, method: str, path: str, body: dict[str, Any] | None, key: str | None) -> NoReturn:
        raise Asked(Request(self.name, method, path, "" if body is None else encode.canonical(body), key or ""))


def with_late(late: Iterable[Request], request: Request) -> tuple[Request, ...]:
    """Add a request to those on their way. Their sequence means nothing, so it is always the same."""
    return tuple(sorted((*late, request)))
