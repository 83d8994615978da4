"""The requests of one action, and the record of those that got no yes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common.calls.client import Answer, Attempt, No, Nothing, ServiceClient, Yes
from common.json_text.storable import storable
from common.process.logs import without_secrets


class Calls:
    """Sends the requests of an action to one service. An action has one or two."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._attempts: tuple[Attempt, ...] = ()

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        refusals: frozenset[str] = frozenset(),
        is_yes: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> Answer:
        """As `ServiceClient.ask`."""
        began = time.monotonic()
        answer = self._client.ask(method, path, body, key=key, refusals=refusals, is_yes=is_yes)
        if not isinstance(answer, Yes):
            self._attempts += (_attempt(answer, began),)
        return answer

    def attempts(self, understood_as: object) -> tuple[Attempt, ...]:
        """The requests that were refused or not answered.

        :param understood_as: what the action made of the last one. A refusal may count as no answer
        """
        if self._attempts and isinstance(understood_as, Nothing) and self._attempts[-1].kind == "refused":
            last = replace(self._attempts[-1], kind="unanswered", message=_text(understood_as))
            return (*self._attempts[:-1], last)
        return self._attempts


def _attempt(answer: No | Nothing, began: float) -> Attempt:
    return Attempt(
        kind="refused" if isinstance(answer, No) else "unanswered",
        began=began,
        took_ms=round((time.monotonic() - began) * 1000),
        status=answer.status,
        code=answer.code,
        message=_text(answer),
    )


def _text(answer: No | Nothing) -> str:
    """It may repeat what the other side was sent."""
    if isinstance(answer, No):
        return storable(without_secrets(answer.message))
    return storable(without_secrets(f"{answer.reason}: {answer.message}" if answer.message else answer.reason))
