"""Row 63: PgBouncer in transaction mode, as Debian packages it. Required: everything works and every limit holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.faults.shared_stack import ALL, SharedStack
from tests.pgbouncer import pgbouncer
from tests.system.conftest import place

ORDERS = 40


@pytest.fixture
def pooled(stack: SharedStack, tmp_path: Path) -> Iterator[SharedStack]:
    """The shared system behind a pooler, on a database whose default time zone is Tokyo."""
    stack.sql("ALTER DATABASE holdfast SET timezone = 'Asia/Tokyo'")
    try:
        with pgbouncer(stack.server.url, tmp_path / "pgbouncer") as url:
            stack.end(*ALL)
            stack.start(*ALL, DATABASE_URL=url)
            yield stack
            stack.end(*ALL)
    finally:
        stack.sql("ALTER DATABASE holdfast RESET timezone")


def test_orders_complete_behind_a_pooler_in_transaction_mode(pooled: SharedStack) -> None:
    product = pooled.product(stock=ORDERS)
    placed = place(pooled, product, ORDERS)
    assert len(set(placed.values())) == ORDERS
    pooled.settle()
    assert pooled.by_status() == {"COMPLETED": ORDERS}

    order = requests.get(f"{pooled.url('web')}/orders/{next(iter(placed.values()))}", timeout=10).json()
    ((now,),) = pooled.sql("SELECT now()")
    for text in [order["created_at"], order["updated_at"], *(entry["at"] for entry in order["timeline"])]:
        assert abs(now - datetime.fromisoformat(text)) < timedelta(minutes=10), "this time is off by a time zone"
