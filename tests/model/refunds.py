"""A model of the ledger's refunds: a refund, and every statement that writes it. None: no row was changed.

What the triggers do to the order's row is part of the statement. `test_refunds_in_the_ledger.py` compares each
statement with the real one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from common.database.database import Row
from domain.events import EventType
from domain.refunds import RefundStatus
from domain.states import Status
from tests.model.ledger import LINE, PIECES, POLICY, PRICE, PRODUCT, Entry, Event


class Wanted(NamedTuple):
    """What a client asks for, under one key: an amount, some pieces, or all that is left."""

    amount: int = 0
    pieces: int = 0
    is_restocked: bool = False
    sends: int = 1
    """How many times the client may still send its request."""
    told: int = 0
    """The status of the last response that it has got, 0 before there is one."""
    order: int = 0

    @property
    def body(self) -> dict[str, Any]:
        """As the Edge API loads it."""
        wanted: dict[str, Any] = {"restock": self.is_restocked, "reason": "other"}
        if self.amount:
            wanted["amount_cents"] = self.amount
        if self.pieces:
            wanted["items"] = [{"product_id": PRODUCT, "quantity": self.pieces}]
        return wanted


class Refund(NamedTuple):
    """A row of the refunds, with its pieces and the payment of its order."""

    id: str
    order: int
    amount: int
    pieces: int
    is_restocked: bool
    payment: str
    status: RefundStatus = RefundStatus.REQUESTED
    claim_number: int = 0
    is_leased: bool = False
    retry_count: int = 0
    restocked: tuple[str, ...] = ()
    not_restocked: tuple[str, ...] = ()
    failure: str = ""


class Both(NamedTuple):
    """A refund and its order, which change in one transaction."""

    entry: Entry
    refund: Refund


class RefundOutcome(NamedTuple):
    """What a claimant saves after an answer. It is made of the row that the real SAVE gets."""

    expected_status: RefundStatus
    status: RefundStatus
    restocked: tuple[str, ...]
    not_restocked: tuple[str, ...]
    retry_count: int
    failure: str
    waits: bool

    @classmethod
    def of(cls, row: Row) -> RefundOutcome:
        return cls(
            row["expected_status"],
            row["status"],
            tuple(row["restocked"]),
            tuple(row["not_restocked"]),
            min(row["retry_count"], POLICY.max_attempts),
            row["failure_code"] or "",
            row["retry_in_s"] is not None,
        )


def refund_id(number: int) -> str:
    """The id of a refund, by its position."""
    return f"00000000-0000-7000-9000-{number + 1:012}"


def order_row(entry: Entry) -> dict[str, Any]:
    """The order as a request for a refund reads it, under its lock."""
    return {
        "id": entry.id,
        "status": entry.status,
        "total_amount_cents": PRICE,
        "refund_reserved_cents": entry.reserved,
        "lines": [{**LINE, "refunded_quantity": entry.refunded_pieces}],
    }


def row_of(refund: Refund) -> dict[str, Any]:
    """The columns of a refund that a claim returns."""
    return {
        "id": refund.id,
        "claim_number": refund.claim_number,
        "request_id": "model",
        "trace_parent": None,
        "order_trace_parent": None,
        "order_ledger_id": str(refund.order),
        "amount_cents": refund.amount,
        "restock": refund.is_restocked,
        "payment_authorization_id": refund.payment,
        "items": [{"product_id": PRODUCT, "quantity": refund.pieces}] if refund.pieces else None,
        "status": refund.status,
        "restocked": refund.restocked,
        "not_restocked": refund.not_restocked,
        "failure_code": refund.failure or None,
        "failure_message": refund.failure or None,
        "retry_count": refund.retry_count,
        "attention_reason": None,
        "stalled_s": 0,
    }


def insert(entry: Entry, refund: Refund) -> Both | None:
    """The request's transaction. A trigger takes the share. None: the order's row refuses it."""
    entry = entry._replace(
        reserved=entry.reserved + refund.amount, refunded_pieces=entry.refunded_pieces + refund.pieces
    )
    if entry.status != Status.COMPLETED or entry.reserved > PRICE or entry.refunded_pieces > PIECES:
        return None
    return Both(entry, refund)


def claim(refund: Refund) -> Refund | None:
    """An orchestrator claims what is due."""
    if refund.is_leased or refund.status.is_terminal:
        return None
    return refund._replace(claim_number=refund.claim_number + 1, is_leased=True)


def save(both: Both, seen: Refund, outcome: RefundOutcome) -> Both | None:
    """Save an outcome. The claim number and the expected status fence off a former claimant."""
    refund = both.refund
    if (refund.claim_number, refund.status) != (seen.claim_number, outcome.expected_status):
        return None
    return guarded(both, with_outcome(refund, outcome))


def with_outcome(refund: Refund, outcome: RefundOutcome) -> Refund:
    return refund._replace(
        status=outcome.status,
        restocked=outcome.restocked,
        not_restocked=outcome.not_restocked,
        retry_count=outcome.retry_count,
        failure=outcome.failure,
        is_leased=not (outcome.waits or outcome.status.is_terminal),
    )


def guarded(was: Both, now: Refund) -> Both:
    """The trigger of the refunds: the order's sums and its event follow the end of a refund in its transaction."""
    entry = was.entry
    if now.status == was.refund.status or not now.status.is_terminal:
        return Both(entry, now)
    is_done = now.status == RefundStatus.SUCCEEDED
    event = Event(EventType.REFUND_SUCCEEDED if is_done else EventType.REFUND_FAILED, entry.status)
    entry = entry._replace(events=(*entry.events, event))
    if is_done:
        return Both(entry._replace(refunded=entry.refunded + now.amount), now)
    back = entry._replace(reserved=entry.reserved - now.amount, refunded_pieces=entry.refunded_pieces - now.pieces)
    return Both(back, now)


def lease_ends(refund: Refund) -> Refund | None:
    return refund._replace(is_leased=False) if refund.is_leased else None
