"""`python -m ops attention`: list the orders and refunds that need attention, retry one, or take one off the list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from common.attention.reasons import minute, why_not_dismissed, why_not_due
from common.attention.statements import DISMISS, RETRY, RETRY_REFUND, WHY_NOT
from common.database.database import Row
from domain import refunds, states
from ops.database import Unusable, transaction
from ops.record import record
from ops.table import table

DONE, REFUSED = 0, 1
TIMEOUT_S = 30
HINT = "`attention done` takes it off the list"
UNKNOWN = "is not an order_ledger_id or refund_id of this database"

LIST = "SELECT * FROM audit_attention ORDER BY needs_attention_at"


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
                minute(row["needs_attention_at"]),
                row["retry_count"],
                minute(row["due_at"]),
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
        raise Refused(_reason(_why_not_due, tx.one(WHY_NOT, id=id_)))


def dismiss(environ: Mapping[str, str] | None, id_: str) -> int:
    """Take an order or a refund that has ended off the list. :returns: 0, or 1 if that is refused :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        ended = next((name for name, statement in DISMISS.items() if tx.one(statement, id=id_)), None)
        if ended:
            record(tx, "attention.done", **{ended: id_})
        refusal = "" if ended else _reason(why_not_dismissed, tx.one(WHY_NOT, id=id_))
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


def _reason(why_not: Callable[[Row], str], entry: Row | None) -> str:
    return UNKNOWN if entry is None else why_not(entry)


def _why_not_due(entry: Row) -> str:
    return why_not_due(entry, HINT)
