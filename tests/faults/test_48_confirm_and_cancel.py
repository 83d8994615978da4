"""Row 48: confirm and cancel of one order at the same moment. Required: exactly one succeeds."""

from __future__ import annotations

from functools import partial

import requests

from domain.ids import order_id_for
from tests.at_once import at_once
from tests.faults.shared_stack import ORCHESTRATORS, PATIENCE_S, SharedStack

ORDERS = 60
LINES = """
SELECT l.user_id::text, i.product_id::text FROM order_ledger l JOIN order_ledger_items i ON i.order_ledger_id = l.id
WHERE l.id = %(id)s
"""


def test_confirm_and_cancel_at_once_have_one_winner(stack: SharedStack) -> None:
    stack.end(*ORCHESTRATORS)
    ids = stack.backlog(ORDERS, [stack.product()])
    orders = [create(stack, id_) for id_ in ids]
    won = [race(order) for order in orders]
    stack.start(*ORCHESTRATORS)
    stack.settle()
    ended = {"CONFIRMED": "COMPLETED", "CANCELLED": "FAILED"}
    found = dict(stack.sql("SELECT id::text, status FROM order_ledger"))
    assert found == {id_: ended[status] for id_, status in zip(ids, won, strict=True)}


def create(stack: SharedStack, order_ledger_id: str) -> str:
    """Create the order as the saga's first step does; return its URL."""
    ((user_id, product_id),) = stack.sql(LINES, id=order_ledger_id)
    line = {"product_id": product_id, "quantity": 1, "unit_price_cents": 500}
    body = {"order_ledger_id": order_ledger_id, "user_id": user_id, "total_amount_cents": 500, "currency": "USD"}
    service = f"{stack.url('orders_service')}/orders"
    assert requests.post(service, json=body | {"items": [line]}, timeout=PATIENCE_S).status_code == 201
    return f"{service}/{order_id_for(order_ledger_id)}"


def race(order: str) -> str:
    """Confirm and cancel at once; return the status that won."""
    confirm, cancel = at_once(
        [partial(requests.put, f"{order}/{verb}", timeout=PATIENCE_S) for verb in ("confirm", "cancel")]
    )
    assert sorted([confirm.status_code, cancel.status_code]) == [200, 409]
    refused = confirm if confirm.status_code == 409 else cancel
    assert refused.json()["error"] == "invalid_status_transition"
    status = str(requests.get(order, timeout=PATIENCE_S).json()["status"])
    assert (status == "CONFIRMED") == (confirm.status_code == 200)
    assert refused.json()["details"]["current_status"] == status
    return status
