"""`python -m ops attention`: list the orders and refunds that need attention, retry one, or take one off the list."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from common.database.database import Row
from domain import refunds, states
from domain.states import Status
from ops.database import Unusable, transaction
from ops.record import record
from ops.table import table

DONE, REFUSED = 0, 1
TIMEOUT_S = 30
UNKNOWN = "is not an order_ledger_id or refund_id of this database"

LIST = "SELECT * FROM audit_attention ORDER BY needs_attention_at"

# Make an order due now. Not during a lease, because its worker is about to write. Not while a request waits for its
# client, because the orchestrator would close it permanently. An entry that needs attention is past that.
RETRY = """
WITH due AS (
  UPDATE order_ledger AS entry SET due_at = LEAST(due_at, now()),
    next_retry_at = CASE WHEN next_retry_at IS NOT NULL THEN LEAST(next_retry_at, now()) END
  WHERE id = %(id)s AND due_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= now())
    AND (status <> 'AWAITING_AUTHORIZATION' OR failure_code IS NOT NULL OR needs_attention_at IS NOT NULL OR EXISTS (
      SELECT FROM set_aside_entries AS aside WHERE aside.order_ledger_id = entry.id AND aside.retry_at IS NOT NULL))
  RETURNING id, status
), set_aside AS (
  UPDATE set_aside_entries SET retry_at = now() FROM due WHERE order_ledger_id = due.id AND retry_at IS NOT NULL
)
SELECT status FROM due
"""
# The same for a refund.
RETRY_REFUND = """
WITH due AS (
  UPDATE refunds SET due_at = LEAST(due_at, now()),
    next_retry_at = CASE WHEN next_retry_at IS NOT NULL THEN LEAST(next_retry_at, now()) END
  WHERE id = %(id)s AND due_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= now())
  RETURNING id, status
), set_aside AS (
  UPDATE set_aside_refunds SET retry_at = now() FROM due WHERE refund_id = due.id AND retry_at IS NOT NULL
)
SELECT status FROM due
"""
WHY_NOT = """
SELECT status, claimed_by, due_at, claimed_until, claimed_until > now() AS is_claimed, needs_attention_at
FROM order_ledger WHERE id = %(id)s
UNION ALL
SELECT status, claimed_by, due_at, claimed_until, claimed_until > now(), needs_attention_at
FROM refunds WHERE id = %(id)s
"""
# What has ended may still need attention: pieces that were refused, or a refund that the gateway has failed later.
_DISMISS = """
UPDATE {table} SET needs_attention_at = NULL, attention_reason = NULL
WHERE id = %(id)s AND due_at IS NULL AND needs_attention_at IS NOT NULL RETURNING status
"""
DISMISS = {"refund_id": _DISMISS.format(table="refunds"), "order_ledger_id": _DISMISS.format(table="order_ledger")}


class Refused(Exception):
    """The order or refund cannot be changed now. The message says why, in one line."""


def attention_table(rows: Sequence[Row]) -> str:
    headings = ("order or refund", "status", "since", "tries", "next try", "reason")
    return table(
        headings,
        (
            (
                row["refund_id"] or row["order_ledger_id"],
                row["status"],
                _minute(row["needs_attention_at"]),
                row["retry_count"],
                _minute(row["due_at"]),
                row["attention_reason"],
            )
            for row in rows
        ),
    )


def show(environ: Mapping[str, str] | None) -> int:
    """List the orders and refunds that need attention, the longest waiting first. :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S, readonly=True) as tx:
        rows = tx.all(LIST)
    sys.stdout.write(attention_table(rows) if rows else "Nothing needs attention.\n")
    return DONE


def retry(environ: Mapping[str, str] | None, id_: str) -> int:
    """Make an order or a refund due now. :returns: 0, or 1 if that is refused :raises Unusable:"""
    try:
        status = make_due(environ, id_)
    except Refused as refused:
        sys.stderr.write(f"{id_} {refused}\n")
        return REFUSED
    told = "have been notified" if _notify(environ) else "will find it when they poll"
    sys.stdout.write(f"{id_} is {status} and due now. The orchestrators {told}.\n")
    return DONE


def make_due(environ: Mapping[str, str] | None, id_: str) -> str:
    """:returns: its status :raises Refused, Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        tx.execute("SELECT set_config('lock_timeout', '5s', true)")
        for statement, name in ((RETRY, "order_ledger_id"), (RETRY_REFUND, "refund_id")):
            if row := tx.one(statement, id=id_):
                record(tx, "attention.retry", **{name: id_})
                return str(row["status"])
        raise Refused(_why_not(tx.one(WHY_NOT, id=id_)))


def dismiss(environ: Mapping[str, str] | None, id_: str) -> int:
    """Take an order or a refund that has ended off the list. :returns: 0, or 1 if that is refused :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        ended = next((name for name, statement in DISMISS.items() if tx.one(statement, id=id_)), None)
        if ended:
            record(tx, "attention.done", **{ended: id_})
        refusal = "" if ended else _why_not_dismissed(tx.one(WHY_NOT, id=id_))
    if refusal:
        sys.stderr.write(f"{id_} {refusal}\n")
        return REFUSED
    sys.stdout.write(f"{id_} needs no attention any more.\n")
    return DONE


def _notify(environ: Mapping[str, str] | None) -> bool:
    """Notify in a separate transaction: it is only a hint, and fails when the queue is full."""
    try:
        with transaction(environ, timeout_s=TIMEOUT_S) as tx:
            tx.execute(f"NOTIFY {states.CHANNEL}; NOTIFY {refunds.CHANNEL}")
    except Unusable:
        return False
    return True


def _why_not(entry: Row | None) -> str:
    if entry is None:
        return UNKNOWN
    if entry["due_at"] is None:
        return f"is {entry['status']}: it has ended, and there is nothing left to try{_hint(entry)}"
    if entry["is_claimed"]:
        return f"is claimed by {entry['claimed_by']} until {_minute(entry['claimed_until'])}: it is being processed now"
    if entry["status"] == Status.AWAITING_AUTHORIZATION:
        return f"waits for its client until {_minute(entry['due_at'])}: trying it again would close it for good"
    return "changed just now: look again"


def _hint(entry: Row) -> str:
    return ". `attention done` takes it off the list" if entry["needs_attention_at"] else ""


def _why_not_dismissed(entry: Row | None) -> str:
    if entry is None:
        return UNKNOWN
    if entry["due_at"] is None:
        return f"is {entry['status']}, and does not need attention"
    return f"is {entry['status']}: it has not ended, and leaves the list when its work succeeds"


def _minute(time: object) -> str:
    return f"{time:%Y-%m-%d %H:%M:%SZ}" if time else "never"
