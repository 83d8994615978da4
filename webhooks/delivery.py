"""A claimed delivery, and what became of an attempt."""

from __future__ import annotations

from dataclasses import dataclass

Claim = tuple[str, int]


@dataclass(frozen=True)
class Delivery:
    """A delivery that this process may attempt until its lease ends."""

    id: str
    endpoint_id: str
    message_id: str
    order_ledger_id: str | None
    claim_number: int
    attempts: int
    """How many attempts have failed."""
    url: str
    headers: dict[str, str]
    body: bytes
    is_failing: bool
    """Whether the endpoint has failed since its last success, or has had none."""

    trace_parent: str | None = None
    """The trace of the request that placed the order. None: it was not traced, or the delivery is about no order."""

    @property
    def claim(self) -> Claim:
        """What distinguishes this claim from all others."""
        return self.id, self.claim_number


@dataclass(frozen=True)
class Answer:
    """What the receiver answered."""

    status: int
    body: str = ""
    """The first 1,024 bytes, as text that PostgreSQL can store."""


@dataclass(frozen=True)
class NoAnswer:
    """Why there is no answer. The reason is a sentence for the owner of the endpoint."""

    reason: str
    is_blocked: bool = False
    """Nothing was sent: the address is not allowed."""


Outcome = Answer | NoAnswer
Done = tuple[Delivery, Outcome]


def is_success(outcome: Outcome) -> bool:
    return isinstance(outcome, Answer) and 200 <= outcome.status < 300


def word(outcome: Outcome) -> str:
    """What it was: `yes`, `refused`, `unanswered` or `blocked`."""
    if isinstance(outcome, Answer):
        return "yes" if is_success(outcome) else "refused"
    return "blocked" if outcome.is_blocked else "unanswered"
