"""The services that the Edge API calls, each behind its breaker."""

from __future__ import annotations

from typing import Any

import pytest

from common.calls.breaker import OPENS_AFTER
from common.calls.client import Answer, No, NoEffect, Nothing, Yes
from edge_api.admission import Bulkhead
from edge_api.services import GuardedService


class Client:
    """Gets the same answer to every call."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def ask(self, *_: Any, **__: Any) -> Answer:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "is_open"),
    [
        (Yes({}), False),
        (No("payment_declined", "No."), False),
        (NoEffect("busy"), False),
        (Nothing("ReadTimeout"), True),
    ],
)
def test_only_missing_answers_open_the_breaker(answer: Answer, is_open: bool) -> None:
    gateway = GuardedService(Client(answer), Bulkhead(4))  # type: ignore[arg-type]
    for _ in range(OPENS_AFTER):
        gateway.ask("POST", "/payments/authorize")
    assert (gateway.pause_s() > 0) == is_open
