"""Row 54: one product row is locked for a long time, with many orders for it and a few for another product.

Required: only the orders for the locked product wait. Waiting costs them no attempt, and nothing is undone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests

from tests.faults.shared_stack import ORCHESTRATORS, PATIENCE_S, SharedStack
from tests.other_session import other_session
from tests.waiting import eventually

LOCKED, FREE = 40, 5
ATTEMPTS = "SELECT DISTINCT status, retry_count FROM order_ledger WHERE status <> 'COMPLETED'"


@contextmanager
def locked(stack: SharedStack, table: str, row_id: str) -> Iterator[None]:
    """Another session holds this row's lock."""
    with other_session(stack.server.url) as cursor:
        cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", (row_id,))
        yield


def test_locked_product_delays_only_the_orders_for_it(stack: SharedStack) -> None:
    stack.restart(*ORCHESTRATORS, WORKER_THREADS="8")
    contended, free = stack.product(), stack.product()
    with locked(stack, "products", contended), ThreadPoolExecutor(8) as shops:
        products = [contended] * LOCKED + [free] * FREE
        answers = shops.map(lambda n: stack.post_order(f"key {n}", products[n]), range(LOCKED + FREE))
        assert {answer.status_code for answer in answers} == {202}
        eventually(lambda: stack.by_status().get("COMPLETED") == FREE, PATIENCE_S)
        waiting = "order_ledger WHERE status = 'ORDER_CREATED' AND status_detail LIKE '%locked%'"
        eventually(lambda: stack.count(waiting) == LOCKED, PATIENCE_S)
        assert stack.sql(ATTEMPTS) == [("ORDER_CREATED", 0)]
    stack.settle()
    assert stack.by_status() == {"COMPLETED": LOCKED + FREE}


def test_call_that_waits_for_a_locked_row_is_answered_busy(stack: SharedStack) -> None:
    """For each call that can wait for a row: the caller gets an answer before it times out, and nothing was done."""
    product, order_id = stack.product(stock=5), str(uuid.uuid4())
    inventory = f"{stack.url('inventory_service')}/inventory"
    reserve = {"order_id": order_id, "items": [{"product_id": product, "quantity": 1}]}
    assert requests.post(f"{inventory}/reservations", json=reserve, timeout=PATIENCE_S).status_code == 201
    change = {"quantity": 1, "reason": "correction"}
    with locked(stack, "products", product), ThreadPoolExecutor() as clients:
        answers = [
            clients.submit(requests.request, method, f"{inventory}/{path}", json=body, headers=headers, timeout=8)
            for method, path, body, headers in (
                ("POST", "reservations", {**reserve, "order_id": str(uuid.uuid4())}, None),
                ("DELETE", f"reservations/{order_id}", None, None),
                ("POST", f"products/{product}/stock", change, {"Idempotency-Key": "k"}),
            )
        ]
        for answer in (future.result() for future in answers):
            assert (answer.status_code, answer.json()["error"]) == (503, "busy")
            assert int(answer.headers["Retry-After"]) >= 1
    assert stack.sql("SELECT stock_quantity FROM products") == [(4,)]
    assert requests.delete(f"{inventory}/reservations/{order_id}", timeout=PATIENCE_S).json()["released_count"] == 1
    stack.settle()
