"""A refund's saga as a row, and back."""

from __future__ import annotations

from common.database.database import Row
from domain.refunds import RefundStatus
from orchestrator.attempts import noted
from orchestrator.saga import Refund


def refund_of(row: Row) -> Refund:
    """:raises ValueError: when the refund cannot be processed as it is"""
    if row["restock"] and not row["items"]:
        raise ValueError("the refund has no pieces to put back into stock")
    return Refund(
        id=row["id"],
        claim_number=row["claim_number"],
        request_id=row["request_id"],
        trace_parent=row["trace_parent"],
        order_ledger_id=row["order_ledger_id"],
        order_trace_parent=row["order_trace_parent"],
        amount_cents=row["amount_cents"],
        restock=row["restock"],
        payment_authorization_id=row["payment_authorization_id"],
        items=tuple(row["items"] or ()),
        status=RefundStatus(row["status"]),
        done_products=tuple(row["restocked"]),
        refused_products=tuple(row["not_restocked"]),
        failure=(row["failure_code"], row["failure_message"]) if row["failure_code"] else None,
        retry_count=row["retry_count"],
        attention=row["attention_reason"],
        stalled_s=row["stalled_s"],
    )


def row_of(was: Refund, now: Refund) -> Row:
    """What SAVE needs to turn `was` into `now`."""
    code, message = now.failure or (None, None)
    return {
        "id": was.id,
        "claim_number": was.claim_number,
        "expected_status": was.status,
        "status": now.status,
        "detail": now.detail,
        "restocked": list(now.done_products),
        "not_restocked": list(now.refused_products),
        "has_advanced": (was.status, was.left_products) != (now.status, now.left_products),
        "retry_count": now.retry_count,
        "failure_code": code,
        "failure_message": message,
        "attention": now.attention,
        "retry_in_s": now.retry_in_s,
        "is_terminal": now.status.is_terminal,
        **noted(was, now),
    }


def as_saved(now: Refund, _saved: Row) -> Refund:
    return now
