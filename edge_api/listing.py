"""The SQL of `GET /orders`: one page of a client's orders, newest first.

The order is that of `created_at`, by the database's clock. Ids break ties; they do not tell the time, because those of
early releases are random. A page begins after the last order of the page before, so it is found by an index however
far it is from the first, and new orders move nothing (docs/decisions/0051).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from domain.states import Status
from edge_api import representation

# Kind of status → its condition, in columns that do not change while an order is processed without a failure. With
# `status` in an index, no change of the status would be heap-only. Open and failed orders have indexes of their own;
# most orders are completed.
OPEN = "due_at IS NOT NULL AND status = ANY(%(open)s)"
TERMINAL = {
    Status.FAILED: "due_at IS NULL AND undone <> '{}' AND status = 'FAILED'",
    Status.AUTHORIZATION_FAILED: "due_at IS NULL AND payment_authorization_id IS NULL"
    " AND status = 'AUTHORIZATION_FAILED'",
    Status.COMPLETED: "status = 'COMPLETED'",
}
IS_FULLY_REFUNDED = "CASE refunded_cents WHEN total_amount_cents THEN 1 ELSE 0 END"  # as in its index
# Lower case of ASCII letters only: other rules change with the operating system, and the index would be wrong.
EMAIL = 'lower(email COLLATE "C")'

# Filter → its condition. `status` has one for each kind of status.
CONDITIONS = {
    "client_request_id": "client_request_id = %(client_request_id)s",
    "reference": "reference = %(reference)s",
    "user_id": "user_id = %(user_id)s::uuid",
    "email": f'{EMAIL} = lower(%(email)s COLLATE "C")',
    "created_from": "created_at >= %(created_from)s",
    "created_before": "created_at < %(created_before)s",
}
AFTER = "(created_at, id) < (%(after_created_at)s, %(after_id)s::uuid)"
NEWEST_FIRST = "ORDER BY created_at DESC, id DESC LIMIT %(limit)s"
IDS = f"SELECT id, created_at FROM order_ledger WHERE {{conditions}} {NEWEST_FIRST}"

# The comment keeps the statement from being prepared: the best plan depends on the values, and a connection would keep
# a plan for each combination of filters.
PAGE = """/* orders */
SELECT {columns} FROM ({ids}) AS page JOIN order_ledger AS l ON l.id = page.id
ORDER BY page.created_at DESC, page.id DESC
"""


def page_of_orders(client: str, filters: Mapping[str, Any], limit: int) -> tuple[str, dict[str, Any]]:
    """The statement for one page, and its parameters.

    :param filters: as `schemas.OrderQuery` loads them, without the limit
    """
    common = ["client = %(client)s"]
    common += [condition for name, condition in CONDITIONS.items() if name in filters]
    parameters: dict[str, Any] = {"client": client, "limit": limit, **filters}
    if after := filters.get("cursor"):
        common.append(AFTER)
        parameters |= {"after_created_at": after.created_at, "after_id": after.id}
    states, opened = conditions_of_states(filters.get("status"), filters.get("refund_status"))
    parts = [IDS.format(conditions=" AND ".join([*common, *each])) for each in states]
    ids = parts[0] if len(parts) == 1 else f"({') UNION ALL ('.join(parts)}) {NEWEST_FIRST}"
    return PAGE.format(columns=representation.COLUMNS, ids=ids), parameters | {"open": opened}


def conditions_of_states(
    wanted: Collection[Status] | None, refund_status: str | None
) -> tuple[list[list[str]], list[str]]:
    """The conditions for each kind of status (an order must match one of them), and the open statuses among them.

    :param wanted, refund_status: None: any
    """
    states = ["true"] if wanted is None else _states(wanted)
    refunded = [] if refund_status is None else [_refunded(refund_status)]
    if refund_status not in (None, "none") and Status.COMPLETED not in (Status if wanted is None else wanted):
        states = ["false"]  # a constraint: only completed orders can be refunded
    return [[*refunded, state] for state in states], _open(wanted or ())


def _states(wanted: Collection[Status]) -> list[str]:
    """A condition for the open statuses together, and one for each terminal status."""
    return [*([OPEN] if _open(wanted) else []), *(TERMINAL[status] for status in TERMINAL if status in wanted)]


def _open(wanted: Collection[Status]) -> list[str]:
    return [str(status) for status in wanted if not status.is_terminal]


def _refunded(status: str) -> str:
    return (
        "refunded_cents = 0"
        if status == "none"
        else f"refunded_cents > 0 AND {IS_FULLY_REFUNDED} = {int(status == 'full')}"
    )
