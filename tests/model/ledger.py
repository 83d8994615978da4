"""A model of the ledger: one entry, and every statement that writes it. None: no row was changed.

Time is one bit of an entry: whether its lease has not ended. Everything else that waits for a time may happen at once,
so every duration of every wait is covered. `tests/model/test_ledger.py` compares each statement with the real one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from common.database.database import Row
from domain.states import ABANDONED, Status
from orchestrator.saga import RetryPolicy

POLICY = RetryPolicy(max_attempts=2, jitter=0)
PRICE = 700  # cents
PRODUCT = "00000000-0000-4000-8000-00000000000a"
USER = "00000000-0000-4000-8000-00000000000b"
FIXED = {
    "user_id": USER,
    "currency": "USD",
    "total_amount_cents": PRICE,
    "items": ({"product_id": PRODUCT, "quantity": 1, "unit_price_cents": PRICE},),
}
"""What every entry has in common."""


class Entry(NamedTuple):
    """A row of the ledger with its outbox event, as it is after T1. Its history is the path that led here."""

    id: str
    status: Status = Status.AWAITING_AUTHORIZATION
    claim_number: int = 1
    is_leased: bool = True
    payment: str = ""
    has_order: bool = False
    retry_count: int = 0
    compensating_from: str = ""
    undone: tuple[str, ...] = ()
    failure: str = ""
    response: int = 0
    """The status of the stored response, 0 before there is one."""
    event: str = ""


class Outcome(NamedTuple):
    """What a claimant saves after an answer. It is made of the row that the real SAVE gets."""

    expected_status: Status
    status: Status
    has_order: bool
    retry_count: int
    compensating_from: str
    undone: tuple[str, ...]
    failure: str
    waits: bool

    @classmethod
    def of(cls, row: Row) -> Outcome:
        return cls(
            row["expected_status"],
            row["status"],
            row["order_id"] is not None,
            # An undo is retried without end. The policy treats all higher counts alike, so one stands for them.
            min(row["retry_count"], POLICY.max_attempts),
            row["compensating_from"] or "",
            tuple(row["undone"]),
            row["failure_code"] or "",
            row["retry_in_s"] is not None,
        )


def row_of(entry: Entry) -> dict[str, Any]:
    """The columns of an entry that a claim returns."""
    return {
        **FIXED,
        "id": entry.id,
        "request_id": "model",
        "client": "shop",
        "client_request_id": entry.id,
        "claim_number": entry.claim_number,
        "payment_authorization_id": entry.payment or None,
        "status": entry.status,
        "compensating_from": entry.compensating_from or None,
        "undone": entry.undone,
        "failure_code": entry.failure or None,
        "failure_message": entry.failure or None,
        "retry_count": entry.retry_count,
        "attention_reason": None,
        "is_cancelled": False,
        "stalled_s": 0,
    }


def insert(id_: str) -> Entry | None:
    """T1. The request holds the first claim."""
    return Entry(id_)


def take_over(entry: Entry) -> Entry | None:
    """A repeat of the request continues, unless another one works on the entry or the sweeper has marked it."""
    if entry.status != Status.AWAITING_AUTHORIZATION or entry.failure or entry.is_leased:
        return None
    return entry._replace(claim_number=entry.claim_number + 1, is_leased=True)


def let_go(entry: Entry | None, seen: Entry) -> Entry | None:
    return entry._replace(is_leased=False) if entry and _is_mine(entry, seen) else None


def authorized(entry: Entry | None, seen: Entry, payment: str, response: int) -> Entry | None:
    """T2: the status, the event and the stored response."""
    if entry is None or not _is_mine(entry, seen):
        return None
    return entry._replace(
        status=Status.AUTHORIZED, payment=payment, response=response, is_leased=False, event="PENDING"
    )


def refused(entry: Entry | None, seen: Entry, failure: str, response: int) -> Entry | None:
    if entry is None or not _is_mine(entry, seen):
        return None
    return entry._replace(status=Status.AUTHORIZATION_FAILED, failure=failure, response=response, is_leased=False)


def _is_mine(entry: Entry, seen: Entry) -> bool:
    return entry.claim_number == seen.claim_number and entry.status == Status.AWAITING_AUTHORIZATION


def answer_abandoned(entry: Entry, response: int) -> Entry | None:
    """Store the response to the repeats of a request that the sweeper has closed."""
    if entry.status != Status.AUTHORIZATION_FAILED or entry.response:
        return None
    return entry._replace(response=response)


def claim(entry: Entry) -> Entry | None:
    """An orchestrator claims what is due. It marks a request that nobody came back for."""
    if entry.is_leased or entry.status.is_terminal:
        return None
    abandoned = ABANDONED if entry.status == Status.AWAITING_AUTHORIZATION else entry.failure
    return entry._replace(claim_number=entry.claim_number + 1, is_leased=True, failure=abandoned)


def save(entry: Entry | None, seen: Entry, outcome: Outcome) -> Entry | None:
    """Save an outcome. The claim number and the expected status fence off a former claimant."""
    if entry is None or (entry.claim_number, entry.status) != (seen.claim_number, outcome.expected_status):
        return None
    return with_outcome(entry, outcome)


def with_outcome(entry: Entry, outcome: Outcome) -> Entry:
    event = {Status.COMPLETED: "PROCESSED", Status.FAILED: "FAILED"}.get(outcome.status, entry.event)
    return entry._replace(
        status=outcome.status,
        has_order=outcome.has_order,
        retry_count=outcome.retry_count,
        compensating_from=outcome.compensating_from,
        undone=outcome.undone,
        failure=outcome.failure,
        is_leased=not (outcome.waits or outcome.status.is_terminal),
        event=event,
    )


def lease_ends(entry: Entry) -> Entry | None:
    return entry._replace(is_leased=False) if entry.is_leased else None
