"""A sale as a row of the ledger, and back; and what tells the two kinds of entries apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from common.database.database import Row
from domain.ids import order_id_for
from domain.states import Status
from orchestrator import refund_entries, refund_statements, statements
from orchestrator.attempts import noted
from orchestrator.saga import Saga, Sale

WITHOUT_ORDER = (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_FAILED, Status.AUTHORIZED)


def saga_of(row: Row) -> Sale:
    """:raises ValueError: when the entry cannot be processed as it is"""
    if not row["items"]:
        raise ValueError("the entry has no lines")
    return Sale(
        id=row["id"],
        claim_number=row["claim_number"],
        request_id=row["request_id"],
        trace_parent=row["trace_parent"],
        user_id=row["user_id"],
        order_id=order_id_for(row["id"]),
        currency=row["currency"],
        total_amount_cents=row["total_amount_cents"],
        payment_authorization_id=row["payment_authorization_id"],
        items=tuple(row["items"]),
        status=Status(row["status"]),
        compensating_from=Status(row["compensating_from"]) if row["compensating_from"] else None,
        undone=tuple(row["undone"]),
        failure=(row["failure_code"], row["failure_message"]) if row["failure_code"] else None,
        retry_count=row["retry_count"],
        attention=row["attention_reason"],
        is_cancelled=row["is_cancelled"],
        stalled_s=row["stalled_s"] or 0,
    )


def entry_of(was: Sale, now: Sale) -> Row:
    """What SAVE needs to turn `was` into `now`."""
    code, message = now.failure or (None, None)
    return {
        "id": was.id,
        "claim_number": was.claim_number,
        "expected_status": was.status,
        "status": now.status,
        "detail": now.detail,
        "order_id": None if now.status in WITHOUT_ORDER else now.order_id,
        "retry_count": now.retry_count,
        "compensating_from": now.compensating_from,
        "undone": list(now.undone),
        "failure_code": code,
        "failure_message": message,
        "attention": now.attention,
        "retry_in_s": now.retry_in_s,
        "is_terminal": now.status.is_terminal,
        **noted(was, now),
    }


def as_saved(now: Sale, saved: Row) -> Sale:
    return replace(now, is_cancelled=saved["is_cancelled"])


@dataclass(frozen=True)
class Entries:
    """One kind of entries: its SQL, and how a row becomes a saga and back."""

    id_name: str
    """Of its id in logs."""
    sql: ModuleType
    saga_of: Callable[[Row], Saga]
    entry_of: Callable[[Any, Any], Row]
    as_saved: Callable[[Any, Row], Any]
    """The saga after its save, with what the row says."""


ORDERS = Entries("order_ledger_id", statements, saga_of, entry_of, as_saved)
REFUNDS = Entries(
    "refund_id", refund_statements, refund_entries.refund_of, refund_entries.row_of, refund_entries.as_saved
)
