"""The gateways that the contract suite runs against, each with the tokens and the faults that its cards know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

GOOD, REFUSES_REFUND, DELAYS_REFUND = "good", "refuses refund", "delays refund"
BEFORE, AFTER = "before the effect", "after the effect"
VERBS = ("authorize", "capture", "void", "void_by_key", "refund")


@dataclass(frozen=True)
class Money:
    """What the gateway itself says about all payments together, in cents."""

    held: int = 0
    captured: int = 0
    refunded: int = 0


class World(Protocol):
    """The payments service with one of the gateways behind it."""

    payments: Any
    tokens: dict[str, str]
    declines: dict[str, str]
    """Token → decline code."""

    def lose(self, verb: str, moment: str) -> None:
        """Lose every answer of the gateway to this verb, with its effect or without, until `answer`."""

    def answer(self) -> None:
        """End the faults."""

    def settle(self) -> None:
        """Let the gateway settle its pending refunds."""

    def money(self) -> Money: ...


class SimulatedWorld:
    tokens: ClassVar = {GOOD: "tok_visa", REFUSES_REFUND: "fail_refund", DELAYS_REFUND: "pending_refund"}
    declines: ClassVar = {
        "decline_insufficient": "insufficient_funds",
        "decline_expired": "card_expired",
        "decline_stolen": "card_declined",
        "decline_x": "generic_decline",
    }

    def __init__(self, payments: Any, chance: Any) -> None:
        """:param payments: a service whose gateway fails in one of two calls, as `chance` draws"""
        self.payments, self._chance = payments, chance
        self.answer()

    def lose(self, verb: str, moment: str) -> None:
        self._chance.draw = 0.1 if moment == BEFORE else 0.4

    def answer(self) -> None:
        self._chance.draw = 0.9

    def settle(self) -> None:
        self.payments.app.test_client().post("/payments/simulate/settle_refunds")

    def money(self) -> Money:
        (sums,) = self.payments.sql(
            "SELECT COALESCE(sum(amount_cents) FILTER (WHERE status = 'AUTHORIZED'), 0)::int AS held,"
            " COALESCE(sum(captured_amount_cents), 0)::int AS captured,"
            " COALESCE(sum(refunded_amount_cents), 0)::int AS refunded FROM payment_authorizations"
        )
        return Money(**sums)
