"""The real system: five processes, a real database, real signals."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest

from holdfast_client import HoldfastError
from tests.books import violations
from tests.system.stack import Stack, running
from tests.waiting import eventually


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """`start(orchestrators=2, MOCK_FAILURE_RATE="0.3")`: the whole system, healthy; ended with the test."""
    with ExitStack() as stacks:
        yield lambda **options: stacks.enter_context(running(url, tmp_path, **options))


@pytest.fixture
def open_orders(url: str) -> Callable[[], int]:
    def count() -> int:
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM order_ledger WHERE due_at IS NOT NULL")
            (n,) = cursor.fetchone()
        connection.close()
        return int(n)

    return count


@pytest.fixture
def settle(url: str, open_orders: Callable[[], int]) -> Callable[..., None]:
    """Wait until every order is in a terminal state, then see that the books agree."""

    def wait(within_s: float = 60) -> None:
        eventually(lambda: open_orders() == 0, within_s)
        assert violations(url) == {}

    return wait


def place(stack: Stack, product: str, count: int, *, buyers: int = 8, token: str = "tok_visa") -> dict[str, str]:
    """Place orders as shops do: side by side, each again with its key until it is answered. :returns: key → id"""
    keys = [uuid.uuid4().hex for _ in range(count)]

    def buy(share: list[str]) -> dict[str, str]:
        placed = {}
        with stack.client(sleep=lambda seconds: time.sleep(min(seconds, 0.1))) as client:
            for key in share:
                try:
                    order = client.place_order(
                        user_id=str(uuid.uuid4()),
                        email="a@b.example",
                        items=[{"product_id": product, "quantity": 1}],
                        payment_token=token,
                        idempotency_key=key,
                    )
                except HoldfastError as error:
                    placed[key] = error.code
                else:
                    placed[key] = order.order_ledger_id
        return placed

    with ThreadPoolExecutor(buyers) as pool:
        shares = pool.map(buy, [keys[number::buyers] for number in range(buyers)])
        return {key: id_ for share in shares for key, id_ in share.items()}


@contextmanager
def buying(stack: Stack, product: str, orders: int) -> Iterator[dict[str, str]]:
    """Orders are placed while the test goes on; all have been answered at the end. Gives what `place` returns."""
    placed: dict[str, str] = {}
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(place, stack, product, orders)
        yield placed
        placed.update(future.result(120))
