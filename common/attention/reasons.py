"""Why an order or a refund cannot be changed now. Each completes a sentence that begins with its id."""

from __future__ import annotations

from common.database.transaction import Row
from domain.states import Status


def why_not_due(entry: Row, hint: str = "") -> str:
    """:param entry: a row of WHY_NOT

    :param hint: what to do with an entry that has ended and still needs attention
    """
    if entry["due_at"] is None:
        return f"is {entry['status']}: it has ended, and there is nothing left to try{_of_marked(entry, hint)}"
    if entry["is_claimed"]:
        return f"is claimed by {entry['claimed_by']} until {minute(entry['claimed_until'])}: it is being processed now"
    if entry["status"] == Status.AWAITING_AUTHORIZATION:
        return f"waits for its client until {minute(entry['due_at'])}: trying it again would close it for good"
    return "changed just now: look again"


def why_not_dismissed(entry: Row) -> str:
    """:param entry: a row of WHY_NOT"""
    if entry["due_at"] is None:
        return f"is {entry['status']}, and does not need attention"
    return f"is {entry['status']}: it has not ended, and leaves the list when its work succeeds"


def minute(time: object) -> str:
    return f"{time:%Y-%m-%d %H:%M:%SZ}" if time else "never"


def _of_marked(entry: Row, hint: str) -> str:
    return f". {hint}" if hint and entry["needs_attention_at"] else ""
