"""Orders of every kind that ended long ago."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.audit.small_world import SmallWorld

DAY_NS = 24 * 60 * 60 * 1_000_000_000
TABLES_WITH_TIMES = (
    "refused_requests",
    "inventory_idempotency_keys",
    "payment_idempotency_keys",
)


def place_all_kinds(world: SmallWorld, prefix: str = "") -> None:
    """Orders that end completed, failed without stock, failed at the capture, declined, refunded, and refused."""
    product = world.product(stock=100)
    world.order(product, key=f"{prefix}completed")
    world.order(product, key=f"{prefix}second")
    world.order(world.product(stock=1), key=f"{prefix}no stock")
    world.order(product, key=f"{prefix}no capture", token="fail_capture")
    world.order(product, key=f"{prefix}declined", token="tok_decline_stolen")
    world.order("11111111-1111-4111-8111-111111111111", key=f"{prefix}unknown product")
    world.work()
    world.faults["capture"] = ["answer"] * 5
    world.order(product, key=f"{prefix}refunded")
    world.work()


def age(world: SmallWorld, days: int) -> None:
    """Move everything that has happened this far into the past."""
    world.sql("SET session_replication_role = replica")
    columns = "created_at = created_at - %(days)s * interval '1 day'"
    for table in TABLES_WITH_TIMES:
        world.sql(f"UPDATE {table} SET {columns}", days=days)
    world.sql("UPDATE attempts SET began_at = began_at - %(days)s * interval '1 day'", days=days)
    world.sql("UPDATE events SET at = at - %(days)s * interval '1 day'", days=days)
    world.sql("UPDATE refunds SET updated_at = updated_at - %(days)s * interval '1 day'", days=days)
    world.sql(f"UPDATE order_ledger SET updated_at = updated_at - %(days)s * interval '1 day', {columns}", days=days)
    world.sql("SET session_replication_role = origin")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`clock(days)`: new ids begin with a time that lies this far in the past."""
    real = time.time_ns

    def set_back(days: int) -> None:
        monkeypatch.setattr("domain.ids.time", SimpleNamespace(time_ns=lambda: real() - days * DAY_NS))

    return set_back
