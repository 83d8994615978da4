"""What the gateway's own books say, for a comparison with ours. Nothing is written, and no transaction is open."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from payments_service.errors import GatewayError
from payments_service.gateways.seam import Found, Nothing, Page, RemoteGateway, Span

A = TypeVar("A")
Query = dict[str, Any]
SIMULATED = "simulated"
log = logging.getLogger(__name__)


class Statements:
    """The lists of the gateway in use. The simulated one has no books but ours, so its lists are empty."""

    def __init__(self, gateway: RemoteGateway | None) -> None:
        self._gateway = gateway
        self._named = {"gateway": gateway.name if gateway else SIMULATED}

    def payments(self, query: Query) -> dict[str, Any]:
        return self._page("payments", query, self._gateway.payments if self._gateway else _none)

    def refunds(self, query: Query) -> dict[str, Any]:
        return self._page("refunds", query, self._gateway.refunds if self._gateway else _none)

    def look(self, gateway_id: str) -> dict[str, Any]:
        found = _answered(self._gateway.look(gateway_id)) if self._gateway else Found(None)
        return {**self._named, "payment": found.payment, "refunds": found.refunds}

    def _page(self, name: str, query: Query, ask: Callable[[Span], Page | Nothing]) -> dict[str, Any]:
        page = _answered(ask(Span(query["created_from"], query["created_before"], query.get("cursor", ""))))
        return {**self._named, name: page.lines, "next_cursor": page.after or None}


def _none(_: Span) -> Page:
    return Page(())


def _answered(answer: A | Nothing) -> A:
    """:raises GatewayError: the gateway gave no answer"""
    if isinstance(answer, Nothing):
        log.warning("the gateway gave no answer: %s", answer.reason)
        raise GatewayError()
    return answer
