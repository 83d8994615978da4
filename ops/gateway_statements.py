"""What the gateway says, as the payments service tells it. Only that service has the gateway's key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from common.calls.client import No, NotAllowed, ServiceClient, Yes
from common.credentials.service_tokens import OPS, Issuer
from common.process.settings import Settings

Line = dict[str, Any]
PAYMENTS = "payments_service"
PAUSES_S = (1.0, 4.0)  # before another attempt: Stripe limits requests by the second
SIMULATED = "simulated"


class Unanswered(Exception):
    """The payments service, or the gateway behind it, gave no answer."""


class GatewayStatements:
    def __init__(self, settings: Settings, keys: Sequence[str], pauses_s: Sequence[float] = PAUSES_S) -> None:
        """:param keys: that sign service tokens"""
        token = Issuer(keys, OPS, PAYMENTS, time.time)
        self._client = ServiceClient("payments", settings.payments_service_url, settings.ca_bundle, token.header)
        self._pauses_s = pauses_s
        self.gateway = ""
        """The name of the gateway in use, after the first answer."""

    @property
    def is_remote(self) -> bool:
        return self.gateway != SIMULATED

    def listed(self, name: str, start: datetime, end: datetime) -> Iterator[Line]:
        """Every line of a list, `payments` or `refunds`, that was made in this time. :raises Unanswered:"""
        span = {"created_from": _rfc3339(start), "created_before": _rfc3339(end)}
        cursor: dict[str, str] = {}
        while True:
            page = self._get(
                f"/payments/gateway/{name}",
                {**span, **cursor},
                lambda body: list(map(_with_time, body[name])) is not None,
            )
            yield from map(_with_time, page[name])
            if not page["next_cursor"]:
                return
            cursor = {"cursor": page["next_cursor"]}

    def look(self, gateway_id: str) -> tuple[Line | None, list[Line]]:
        """One payment, or None, and its refunds. :raises Unanswered:"""
        found = self._get(
            "/payments/gateway/payment", {"gateway_id": gateway_id}, lambda body: isinstance(body["refunds"], list)
        )
        return found["payment"] and _with_time(found["payment"]), list(map(_with_time, found["refunds"]))

    def _get(self, path: str, params: dict[str, str], is_readable: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        reason = ""
        for pause_s in (0, *self._pauses_s):
            time.sleep(pause_s)
            answer = self._client.ask(
                "GET", path, params=params, is_yes=lambda body: bool(body["gateway"]) and is_readable(body)
            )
            if isinstance(answer, Yes):
                self.gateway = answer.body["gateway"]
                return answer.body
            reason = answer.message if isinstance(answer, No) else answer.reason
            if isinstance(answer, NotAllowed | No):
                break
        raise Unanswered(reason)


def _rfc3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _with_time(line: Line) -> Line:
    return {**line, "created_at": datetime.fromisoformat(line["created_at"])}
