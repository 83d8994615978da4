"""What an operator does to one order or refund, in a transaction of the caller. Each is recorded with its effect.

A refusal is raised before anything is written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from common.api.errors import ApiError
from common.attention.reasons import why_not_dismissed, why_not_due
from common.attention.statements import DISMISS_ORDER, DISMISS_REFUND, RETRY, RETRY_REFUND, WHY_NOT
from common.database import operator_log
from common.database.database import Row, Transaction
from common.process.logs import without_secrets
from console import action_statements as statements
from console.errors import NeedsNoAttention, NotDueNow
from edge_api import cancel as edge_cancel
from edge_api import refunds as edge_refunds

HINT = "Mark it as dealt with to take it off the list"


class Subject(NamedTuple):
    """What is acted on: an order, or one of its refunds."""

    client: str
    order_ledger_id: str
    refund_id: str | None = None

    @property
    def id(self) -> str:
        return self.refund_id or self.order_ledger_id

    @property
    def kind(self) -> str:
        return "refund" if self.refund_id else "order"


def retry(tx: Transaction, actor: str, subject: Subject, reason: str, **details: Any) -> None:
    """Make it due now. :raises NotDueNow: it has ended, waits for its client, or is being processed"""
    if not tx.one(RETRY_REFUND if subject.refund_id else RETRY, id=subject.id):
        raise _refused(tx, NotDueNow, subject)
    _record(tx, actor, "retry", subject, reason=reason, **details)


def cancel(tx: Transaction, actor: str, subject: Subject, wish: Row, **details: Any) -> None:
    """Ask for the order's end. :raises OrderNotFound, OrderNotCancellable:

    :param wish: its `reason`, and a `note` that can be erased
    """
    edge_cancel.write(tx, subject.client, subject.order_ledger_id, {"note": None, **wish})
    _record(tx, actor, "cancel", subject, reason=wish["reason"], **details)


def refund(tx: Transaction, actor: str, subject: Subject, key: str, wanted: Row) -> Row:
    """:returns: the refund :raises OrderNotFound, OrderNotRefundable, RefundExceedsRemaining:"""
    made = edge_refunds.write(tx, subject.client, subject.order_ledger_id, key, wanted)
    pieces = sum(item["quantity"] for item in made["items"])
    what = {"refund_id": made["refund_id"], "amount_cents": made["amount_cents"], "pieces": pieces}
    _record(tx, actor, "refund", subject, **what, restock=made["restock"], reason=made["reason"])
    return made


def add_note(tx: Transaction, actor: str, subject: Subject, text: str) -> None:
    """The record says that there is a note, and not its text, which can be erased."""
    tx.execute(statements.ADD_NOTE, id=subject.order_ledger_id, author=actor, note=text)
    _record(tx, actor, "note", subject)


def deal_with(tx: Transaction, actor: str, subject: Subject, reason: str) -> None:
    """Hide the mark until it fails again, or take it away from what has ended. :raises NeedsNoAttention:"""
    hide, dismiss = (
        (statements.HIDE_REFUND, DISMISS_REFUND) if subject.refund_id else (statements.HIDE_ORDER, DISMISS_ORDER)
    )
    if not tx.one(hide, id=subject.id, author=actor, reason=reason) and not tx.one(dismiss, id=subject.id):
        raise _refused(tx, NeedsNoAttention, subject)
    _record(tx, actor, "dealt_with", subject, reason=reason)


def _record(tx: Transaction, actor: str, action: str, subject: Subject, /, **details: Any) -> None:
    ids = {"order_ledger_id": subject.order_ledger_id, "refund_id": subject.refund_id}
    told = {**ids, **details}
    told = {name: value for name, value in told.items() if value is not None}
    if "reason" in told:
        told["reason"] = without_secrets(told["reason"])  # the record can never be erased
    operator_log.add(tx, actor, f"{subject.kind}.{action}", told)


def _refused(tx: Transaction, kind: type[ApiError], subject: Subject) -> ApiError:
    entry = tx.one(WHY_NOT, id=subject.id)
    if entry is None:  # it was deleted meanwhile
        return kind()
    if kind is NeedsNoAttention and entry["due_at"] is not None:
        return kind()
    why = why_not_due(entry, HINT) if kind is NotDueNow else why_not_dismissed(entry)
    return kind(f"The {subject.kind} {why}.", status=entry["status"])
