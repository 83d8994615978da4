"""The body of an event. What never changes is read from the order, so that an erasure reaches it."""

from __future__ import annotations

from typing import Any

from common.api.fields import rfc3339

# `e` is the event, `l` its order.
COLUMNS = """
e.id, e.type, e.at, e.order_ledger_id, e.order_id, l.client_request_id, l.reference, l.metadata, e.status, e.sequence,
  l.total_amount_cents, e.refunded_cents, l.currency, e.failure_code, e.failure_message, e.refund_id
"""
READ = f"SELECT {COLUMNS} FROM events AS e JOIN order_ledger AS l ON l.id = e.order_ledger_id"


def event_body(row: dict[str, Any]) -> dict[str, Any]:
    """The body of an event, as Standard Webhooks has it.

    :param row: with the columns of READ
    """
    failure = None
    if row["failure_code"] is not None:
        failure = {"code": row["failure_code"], "message": row["failure_message"]}
    same = ("order_ledger_id", "order_id", "client_request_id", "reference")
    data = {name: row[name] for name in same} | {"metadata": row["metadata"] or {}}
    data |= {name: row[name] for name in ("status", "sequence", "total_amount_cents", "refunded_cents", "currency")}
    data["failure"] = failure
    if row["refund_id"] is not None:
        data["refund_id"] = row["refund_id"]
    return {"type": row["type"], "timestamp": rfc3339(row["at"]), "data": data}
