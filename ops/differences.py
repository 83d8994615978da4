"""Compares one payment or refund in our books with what the gateway says of it. No I/O.

Only money counts. A payment that was declined, voided or never confirmed is *nothing*, whatever the gateway keeps of
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from common.database.database import Row
from domain.refunds import RefundStatus
from domain.states import Status


class Kind(StrEnum):
    AMOUNT = "amount_differs"
    STATE = "state_differs"
    UNKNOWN_TO_US = "unknown_to_us"
    UNKNOWN_TO_GATEWAY = "unknown_to_gateway"
    UNKNOWN_TO_LEDGER = "unknown_to_ledger"
    LEDGER = "ledger_differs"
    IN_FLIGHT = "in_flight"
    """Not a difference: the money moves right now, and one side is ahead of the other."""


@dataclass(frozen=True)
class Line:
    kind: Kind
    about: str
    """`payment` or `refund`."""
    gateway_id: str | None
    authorization_id: str | None
    order_ledger_id: str | None
    refund_id: str | None
    ours: str
    theirs: str


@dataclass(frozen=True)
class Money:
    state: str = "nothing"
    cents: int = 0
    currency: str = ""

    def __bool__(self) -> bool:
        return self != Money()

    def __str__(self) -> str:
        return f"{self.state} {self.cents} {self.currency}" if self else self.state


HELD, CAPTURED, RETURNED, PENDING = "held", "captured", "returned", "pending"


def of_payment(row: Row, theirs: Row | None, *, is_asked: bool) -> Line | None:
    """The difference, or None.

    :param row: of our books
    :param is_asked: whether the gateway has books of its own and was asked. If not, only our books are compared
    """
    ours, told = _paid(row), _told_paid(theirs)
    kind = _kind(ours, told, theirs) if is_asked else None
    if not (kind := kind or _against_ledger(row, ours)):
        return None
    ledger = _ledger_words(row["entry_status"], row["total_amount_cents"], row["entry_currency"])
    refunded = row["refunded_amount_cents"]
    words = f"{ours}{f', refunded {refunded}' if refunded else ''}; {ledger}"
    return Line(
        Kind.IN_FLIGHT if _moves(row, kind) else kind, "payment", row["gateway_id"], row["authorization_id"],
        row["order_ledger_id"], None, words, _words(told, theirs, is_asked=is_asked),
    )  # fmt: skip


def of_refund(row: Row, theirs: Row | None, *, is_asked: bool) -> Line | None:
    """The same for a refund."""
    ours, told = _refunded(row), _told_refunded(theirs)
    kind = _kind(ours, told, theirs) if is_asked else None
    if not (kind := kind or _refund_against_ledger(row, ours)):
        return None
    refund = f"the refund is {row['refund_status']} over {row['refund_cents']}" if row["refund_id"] else ""
    words = f"{ours}; {refund or _ledger_words(row['entry_status'])}"
    gateway_id = theirs["gateway_id"] if theirs else row["gateway_id"]
    return Line(
        Kind.IN_FLIGHT if _moves(row, kind) else kind, "refund", gateway_id, row["authorization_id"],
        row["order_ledger_id"], row["refund_id"] or row["asked_id"], words, _words(told, theirs, is_asked=is_asked),
    )  # fmt: skip


def unknown_payment(theirs: Row) -> Line | None:
    """A payment that our books do not know. None: it has no money."""
    told = _told_paid(theirs)
    return _unknown("payment", theirs, told, theirs["authorization_id"], None) if told else None


def unknown_refund(theirs: Row) -> Line | None:
    told = _told_refunded(theirs)
    return _unknown("refund", theirs, told, None, theirs["refund_id"]) if told else None


def _unknown(about: str, theirs: Row, told: Money, authorization_id: str | None, refund_id: str | None) -> Line:
    words = f"{told}, made {theirs['created_at']:%Y-%m-%d %H:%M:%SZ}"
    if of := theirs.get("payment_gateway_id"):
        words += f", of {of}"
    return Line(Kind.UNKNOWN_TO_US, about, theirs["gateway_id"], authorization_id, None, refund_id, "unknown", words)


def _kind(ours: Money, told: Money, theirs: Row | None) -> Kind | None:
    if ours == told:
        return None
    if theirs is None:
        return Kind.UNKNOWN_TO_GATEWAY
    return Kind.STATE if ours.state != told.state else Kind.AMOUNT


def _moves(row: Row, kind: Kind) -> bool:
    return row["is_open"] or (kind == Kind.LEDGER and row.get("has_open_refund", False))


def _paid(row: Row) -> Money:
    match row["status"]:
        case "AUTHORIZED":
            return Money(HELD, row["amount_cents"], row["currency"])
        case "CAPTURED" | "REFUNDED":
            return Money(CAPTURED, row["captured_amount_cents"], row["currency"])
    return Money()


def _told_paid(theirs: Row | None) -> Money:
    if theirs and theirs["state"] in (HELD, CAPTURED):
        return Money(theirs["state"], theirs[f"{theirs['state']}_cents"], theirs["currency"])
    return Money()


def _refunded(row: Row) -> Money:
    match row["status"]:
        case "REFUNDED":
            return Money(RETURNED, row["amount_cents"], row["currency"])
        case "PENDING":
            return Money(PENDING, row["amount_cents"], row["currency"])
    return Money()


def _told_refunded(theirs: Row | None) -> Money:
    if theirs and theirs["state"] in (RETURNED, PENDING):
        return Money(theirs["state"], theirs["amount_cents"], theirs["currency"])
    return Money()


def _against_ledger(row: Row, ours: Money) -> Kind | None:
    """Whether the payment is what the order's state says. Orders that have not ended are the audit's."""
    if row["entry_status"] is None:
        return Kind.UNKNOWN_TO_LEDGER if ours else None
    kept = (row["captured_amount_cents"] or 0) - (row["refunded_amount_cents"] or 0)
    match row["entry_status"]:
        case Status.COMPLETED:
            sold = Money(CAPTURED, row["total_amount_cents"], row["entry_currency"])
            is_right = ours == sold and kept == row["total_amount_cents"] - row["refunded_cents"]
        case Status.FAILED | Status.AUTHORIZATION_FAILED:
            # The refund that undid it may have failed later: it is marked for a person, and its money is still here.
            is_right = ours.state != HELD and kept == (row["failed_undo_cents"] or 0)
        case _:
            is_right = True
    return None if is_right else Kind.LEDGER


def _refund_against_ledger(row: Row, ours: Money) -> Kind | None:
    if row["refund_id"] is None:  # the money of an order that failed goes back without a refund of its own
        is_known = row["entry_status"] is not None and row["key"] == f"refund:{row['order_ledger_id']}"
        return Kind.UNKNOWN_TO_LEDGER if ours and not is_known else None
    match row["refund_status"]:
        case RefundStatus.REQUESTED:
            is_right = ours.state != RETURNED
        case RefundStatus.FAILED:
            is_right = not ours
        case _:
            is_right = ours.state == RETURNED and ours.cents == row["refund_cents"]
    return None if is_right else Kind.LEDGER


def _ledger_words(status: str | None, cents: int | None = None, currency: str = "") -> str:
    if status is None:
        return "no order"
    return f"the order is {status}{f' over {cents} {currency}' if cents else ''}"


def _words(told: Money, theirs: Row | None, *, is_asked: bool) -> str:
    if not is_asked:
        return "not asked"
    return str(told) if theirs else "unknown"


def as_dict(line: Line) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Kind) else value for name, value in vars(line).items()}


def in_flight(line: Line) -> Line:
    return replace(line, kind=Kind.IN_FLIGHT)
