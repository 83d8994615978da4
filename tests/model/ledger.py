"""A model of the ledger: one entry, and every statement that writes it. None: no row was changed.

Time is one bit of an entry: whether its lease has not ended. Everything else that waits for a time may happen at once,
so every duration of every wait is covered. `tests/model/test_ledger.py` compares each statement with the real one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from common.database.database import Row
from domain.events import EventType
from domain.states import ABANDONED, CANCELLED, Status
from orchestrator.saga import RetryPolicy

POLICY = RetryPolicy(max_attempts=2, jitter=0)
PRICE = 700  # cents
PIECES = 2
PRODUCT = "00000000-0000-4000-8000-00000000000a"
USER = "00000000-0000-4000-8000-00000000000b"
LINE = {"product_id": PRODUCT, "quantity": PIECES, "unit_price_cents": PRICE // PIECES}
FIXED = {
    "user_id": USER,
    "currency": "USD",
    "total_amount_cents": PRICE,
    "items": (LINE,),
}
"""What every entry has in common."""


class Event(NamedTuple):
    """What a client is told: a change, and the status of the order after it."""

    type: str
    status: str


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
    events: tuple[Event, ...] = ()
    is_cancelled: bool = False
    """Whether the client has asked for the cancellation."""
    cancel_response: int = 0
    """The status of the stored response to the latest of these requests."""
    reserved: int = 0
    """Cents that its refunds have taken as their shares."""
    refunded: int = 0
    """Cents that its refunds have returned."""
    refunded_pieces: int = 0


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
        "trace_parent": None,
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
        "is_cancelled": entry.is_cancelled,
        "stalled_s": 0,
    }


def insert(id_: str) -> Entry | None:
    """T1. The request holds the first claim."""
    return Entry(id_)


def take_over(entry: Entry) -> Entry | None:
    """A repeat of the request continues, unless another one works on the entry or it is to be closed."""
    is_closing = entry.failure or entry.is_cancelled
    if entry.status != Status.AWAITING_AUTHORIZATION or is_closing or entry.is_leased:
        return None
    return entry._replace(claim_number=entry.claim_number + 1, is_leased=True)


def let_go(entry: Entry | None, seen: Entry) -> Entry | None:
    return entry._replace(is_leased=False) if entry and _is_mine(entry, seen) else None


def authorized(entry: Entry | None, seen: Entry, payment: str, response: int) -> Entry | None:
    """T2: the status, the event and the stored response."""
    if entry is None or not _is_mine(entry, seen):
        return None
    new = entry._replace(status=Status.AUTHORIZED, payment=payment, response=response, is_leased=False, event="PENDING")
    return guarded(entry, new)


def refused(entry: Entry | None, seen: Entry, failure: str, response: int) -> Entry | None:
    if entry is None or not _is_mine(entry, seen):
        return None
    new = entry._replace(
        status=Status.AUTHORIZATION_FAILED,
        failure=CANCELLED if entry.is_cancelled else failure,
        response=response,
        is_leased=False,
    )
    return guarded(entry, new)


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
    is_cancelled = entry.is_cancelled and outcome.status in (Status.FAILED, Status.AUTHORIZATION_FAILED)
    new = entry._replace(
        status=outcome.status,
        has_order=outcome.has_order,
        retry_count=outcome.retry_count,
        compensating_from=outcome.compensating_from,
        undone=outcome.undone,
        failure=CANCELLED if is_cancelled else outcome.failure,
        is_leased=not (outcome.waits or outcome.status.is_terminal),
        event=event,
    )
    return guarded(entry, new)


def guarded(was: Entry, now: Entry) -> Entry:
    """The trigger of the ledger: it writes the event of a change in the transaction of the change."""
    type_ = _event_of(now)
    return now._replace(events=(*now.events, Event(type_, now.status))) if type_ and was.status != now.status else now


def _event_of(entry: Entry) -> str:
    if entry.failure == CANCELLED and entry.status in (Status.FAILED, Status.AUTHORIZATION_FAILED):
        return EventType.ORDER_CANCELLED
    return _EVENTS.get(entry.status, "")


_EVENTS = {
    Status.AUTHORIZED: EventType.ORDER_AUTHORIZED,
    Status.COMPLETED: EventType.ORDER_COMPLETED,
    Status.FAILED: EventType.ORDER_FAILED,
    Status.AUTHORIZATION_FAILED: EventType.ORDER_AUTHORIZATION_FAILED,
}


def as_saved(seen: Entry, saved: Entry) -> Entry:
    """What an orchestrator knows after a save: what it has written, and whether the order was cancelled meanwhile."""
    return as_claimed(seen)._replace(is_cancelled=saved.is_cancelled)


def as_claimed(entry: Entry) -> Entry:
    """What an orchestrator knows after a claim: the columns that it returns."""
    return entry._replace(response=0, event="", events=(), cancel_response=0, reserved=0, refunded=0, refunded_pieces=0)


def cancel(entry: Entry) -> Entry | None:
    """Note the client's wish. None: the order has ended."""
    return None if entry.status.is_terminal else entry._replace(is_cancelled=True)


def lease_ends(entry: Entry) -> Entry | None:
    return entry._replace(is_leased=False) if entry.is_leased else None
