"""What makes the simulation behave like a gateway somewhere else: it is slow, it fails, it declines cards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from common.api.errors import ApiError
from common.api.idempotency import StoredResponse
from payments_service.errors import GatewayError

# What a payment token contains → why it is declined. The first that fits counts.
DECLINES = (
    ("decline_insufficient", "insufficient_funds"),
    ("decline_expired", "card_expired"),
    ("decline_stolen", "card_declined"),
    ("decline_", "generic_decline"),
)
FAIL_CAPTURE = "fail_capture"


def decline_code(token: str) -> str | None:
    """Why a card with this token is declined; None: it is not."""
    return next((code for part, code in DECLINES if part in token), None)


def refuses_capture(token: str) -> bool:
    """Whether the card authorizes, but every capture of it is refused."""
    return FAIL_CAPTURE in token


@dataclass(frozen=True)
class Gateway:
    """The way to the gateway and back; half of the failures lose the request, half lose the answer."""

    latency_s: float
    failure_rate: float
    # The system's source: it has no state that forked workers would share.
    chance: random.Random = field(default_factory=random.SystemRandom)
    sleep: Callable[[float], None] = time.sleep

    def call(self, work: Callable[[], StoredResponse]) -> StoredResponse:
        """Do `work`, unless it is this call's turn to fail.

        :raises GatewayError: before the work, or after it is on the books
        """
        if self.latency_s:  # to sleep for no time would give the interpreter to another thread
            self.sleep(self.latency_s)
        drawn = self.chance.random()
        if drawn < self.failure_rate / 2:
            raise GatewayError()
        if drawn < self.failure_rate:
            with suppress(ApiError):  # a refusal is lost just as a yes is
                work()
            raise GatewayError()
        return work()
