"""Cancel ‖ saga. Each order ends cancelled with nothing left, or completed with the cancellation refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.credentials import headers_for
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack, new_key
from tests.races import PATIENCE_S, races, tell
from tests.waiting import eventually

RACES = races(48)
AT_ONCE = 8
ENDS = """
SELECT id::text, status, failure_code, cancel_requested_at IS NOT NULL FROM order_ledger
"""
HELD = """
SELECT count(*) FROM payment_authorizations WHERE status NOT IN ('VOIDED', 'REFUNDED', 'DECLINED')
  AND idempotency_key = ANY (SELECT 'authorize:' || id FROM order_ledger WHERE status <> 'COMPLETED')
"""


def cancel(stack: SharedStack, order: str) -> requests.Response:
    return requests.post(
        f"{stack.url('web')}/orders/{order}/cancel",
        json={"reason": "requested_by_customer"},
        headers={**headers_for("web"), "Idempotency-Key": new_key()},
        timeout=60,
    )


def look(stack: SharedStack, order: str) -> dict[str, Any]:
    return dict(requests.get(f"{stack.url('web')}/orders/{order}", headers=headers_for("web"), timeout=60).json())


def race(stack: SharedStack, product: str, number: int) -> tuple[str, int]:
    """Place an order and cancel it when its saga has come as far as `number` says. :returns: its id, and the answer"""
    order = stack.post_order(new_key(), product).json()["order_ledger_id"]
    steps = ("AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED")
    wanted = steps[number % len(steps)]
    eventually(lambda: look(stack, order)["status"] not in steps[: steps.index(wanted)], PATIENCE_S)
    return order, cancel(stack, order).status_code


@pytest.mark.parametrize("kill", [False, True], ids=["calm", "orchestrator killed"])
def test_cancelled_order_ends_as_one_of_two(stack: SharedStack, kill: bool) -> None:
    product = stack.product(stock=10 * RACES)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        races = [pool.submit(race, stack, product, number) for number in range(RACES)]
        if kill:
            eventually(lambda: stack.count("order_ledger WHERE due_at IS NULL") >= RACES // 4, PATIENCE_S)
            stack.end(*ORCHESTRATORS)
            stack.start(*ORCHESTRATORS)
        answers = dict(each.result() for each in races)
    stack.settle()
    ends = {id_: (status, code, asked) for id_, status, code, asked in stack.sql(ENDS)}
    for order, answer in answers.items():
        status, code, asked = ends[order]
        now = look(stack, order)
        if answer == 409:
            assert (status, asked, now["cancellation"]) == ("COMPLETED", False, None)
        else:
            assert (answer, asked) == (202, True)
            cancelled = (status, code) == ("FAILED", "cancelled")
            assert cancelled or status == "COMPLETED", (status, code)
            assert now["cancellation"]["status"] == ("done" if cancelled else "refused")
    assert stack.sql(HELD) == [(0,)]
    tell("cancel ‖ saga", [ends[order][0] for order in answers])


def test_cancel_ends_an_order_that_waits_for_a_retry(stack: SharedStack) -> None:
    """Its saga would go on in an hour. It turns back at once, without another attempt at the step."""
    product = stack.product(stock=5)
    stack.end("orders_service")
    stack.restart(*ORCHESTRATORS, RETRY_BASE_S="3600")
    order = stack.post_order(new_key(), product).json()["order_ledger_id"]
    eventually(lambda: stack.count("order_ledger WHERE retry_count = 1 AND claimed_by IS NULL") == 1)
    stack.start("orders_service")
    assert cancel(stack, order).json()["cancellation"]["status"] == "pending"
    eventually(lambda: look(stack, order)["status"] == "FAILED")
    assert look(stack, order)["failure"]["code"] == "cancelled"
    stack.settle()
