"""Fault 76: worker ids that are the master's. Required: the ledger names the process that claimed an entry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.faults.shared_stack import SharedStack, new_key
from tests.waiting import eventually

CLAIMED = "SELECT claimed_by FROM order_ledger WHERE status = 'AWAITING_AUTHORIZATION' AND claimed_by IS NOT NULL"


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def claimant_of_one_order(stack: SharedStack, product: str) -> str:
    """The claimant in the ledger while an order waits for its authorization."""
    with ThreadPoolExecutor(1) as shop:
        with frozen(*stack.workers("payments_service")):
            placed = shop.submit(stack.post_order, new_key(), product)
            ((claimant,),) = eventually(lambda: stack.sql(CLAIMED))
        assert placed.result().status_code == 202
    return str(claimant)


def test_each_forked_worker_claims_under_its_own_name(stack: SharedStack) -> None:
    """`ops attention` shows this name, so that a person finds the process."""
    product = stack.product()
    eventually(lambda: len(stack.workers("web")) > 1)
    workers = stack.workers("web")
    for worker in workers:
        with frozen(*(other for other in workers if other != worker)):
            assert claimant_of_one_order(stack, product).rpartition(":")[2] == str(worker)
    stack.settle()
