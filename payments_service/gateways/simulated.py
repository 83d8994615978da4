"""The simulated gateway: the token of a payment decides, calls are slow, and answers get lost, as it is set.

Its books are those of the payments service, so it answers within the transaction that writes them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from common.api.errors import ApiError
from common.api.idempotency import StoredResponse
from payments_service.errors import GatewayError
from payments_service.gateways.seam import No, Pending, Row, Yes

# Part of a payment token → why it is declined. The first match counts.
DECLINES = (
    ("decline_insufficient", "insufficient_funds"),
    ("decline_expired", "card_expired"),
    ("decline_stolen", "card_declined"),
    ("decline_", "generic_decline"),
)
FAIL_CAPTURE = "fail_capture"
FAIL_REFUND = "fail_refund"
PENDING_REFUND = "pending_refund"


def decline_code(token: str) -> str | None:
    """Why a card with this token is declined, or None."""
    return next((code for part, code in DECLINES if part in token), None)


def refuses_capture(token: str) -> bool:
    """Whether the card authorizes but refuses every capture."""
    return FAIL_CAPTURE in token


def refuses_refund(token: str) -> bool:
    """Whether the card refuses every refund."""
    return FAIL_REFUND in token


def delays_refund(token: str) -> bool:
    """Whether every refund to the card is pending until it is settled."""
    return PENDING_REFUND in token


@dataclass(frozen=True)
class SimulatedGateway:
    """Half of the failures lose the request, half lose the answer."""

    latency_s: float = 0
    failure_rate: float = 0
    # The system's random source has no state that forked workers would share.
    chance: random.Random = field(default_factory=random.SystemRandom)
    sleep: Callable[[float], None] = time.sleep

    def authorize(self, payment: Row, token: str) -> Yes | No:
        if code := decline_code(token):
            return No(code)
        return Yes(
            {
                "refuses_capture": refuses_capture(token),
                "refuses_refund": refuses_refund(token),
                "delays_refund": delays_refund(token),
            }
        )

    def capture(self, payment: Row, amount_cents: int) -> Yes | No:
        return No() if payment["refuses_capture"] else Yes()

    def refund(self, payment: Row, refund: Row) -> Yes | No | Pending:
        if payment["refuses_refund"]:
            return No()
        return Pending() if payment["delays_refund"] else Yes()

    def call(self, work: Callable[[], StoredResponse]) -> StoredResponse:
        """Run `work`, unless this call fails.

        :raises GatewayError: before the work, or after it is committed
        """
        if self.latency_s:  # even sleep(0) would hand the interpreter to another thread
            self.sleep(self.latency_s)
        drawn = self.chance.random()
        if drawn < self.failure_rate / 2:
            raise GatewayError()
        if drawn < self.failure_rate:
            with suppress(ApiError):  # a refusal is lost like any other answer
                work()
            raise GatewayError()
        return work()
