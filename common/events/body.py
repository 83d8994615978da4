"""The body of an event, in the form of Standard Webhooks (https://www.standardwebhooks.com).

What the event changed is a column of `events`. What never changes is read from the ledger, so that an erasure reaches
every event. There is no e-mail address and no user id in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.api.fields import rfc3339

COLUMNS = """
e.id, e.type, e.at, e.order_ledger_id, e.order_id, l.client_request_id, l.reference,
  COALESCE(l.metadata, '{}') AS metadata, e.status, e.sequence, l.total_amount_cents, e.refunded_cents, l.currency,
  e.failure_code, e.failure_message, e.refund_id, l.trace_parent
"""
READ = f"SELECT {COLUMNS} FROM events AS e JOIN order_ledger AS l ON l.id = e.order_ledger_id"
"""The rows of `event_body`, with the `trace_parent` of the request that placed the order.

Conditions can be added: `e` is the event, `l` its ledger entry.
"""

DATA = (
    "order_ledger_id",
    "order_id",
    "client_request_id",
    "reference",
    "metadata",
    "status",
    "sequence",
    "total_amount_cents",
    "refunded_cents",
    "currency",
)


def event_body(row: Mapping[str, Any]) -> dict[str, Any]:
    """`{"type", "timestamp", "data"}` of a row of `READ`, ready for JSON. `data` has a `refund_id` if the event is
    about a refund.
    """
    data = {name: row[name] for name in DATA}
    data["failure"] = None
    if row["failure_code"] is not None:
        data["failure"] = {"code": row["failure_code"], "message": row["failure_message"]}
    if row["refund_id"] is not None:
        data["refund_id"] = row["refund_id"]
    return {"type": row["type"], "timestamp": rfc3339(row["at"]), "data": data}
