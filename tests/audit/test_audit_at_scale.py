"""The audit of many orders: it joins by hash or by index, and never scans one table for each row of another.

An audit of 100,000 orders, a quarter of them undone, took 4 to 5 s on two cores. No test asserts this time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.database.conftest import Sql
from tests.database.crowd import DUE, fill

ORDERS = 20_000
BY_INDEX = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
# What cannot be written, the last deleted events of each client, and the endpoints. No refunds and deliveries are made.
TINY = {
    "set_aside_entries", "set_aside_refunds", "refunds", "refund_items", "deleted_events", "webhook_endpoints",
    "webhook_deliveries",
}  # fmt: skip
QUADRATIC = (
    "SELECT * FROM order_ledger l JOIN payment_authorizations a ON a.amount_cents > l.total_amount_cents",
    "SELECT (SELECT count(*) FROM orders o WHERE o.status = l.client) FROM order_ledger l",
)

Plan = dict[str, Any]


@pytest.fixture(scope="module")
def crowded(new_migrated_database: Callable[[], str], connect: Callable[[str], Sql]) -> Sql:
    sql = connect(new_migrated_database())
    fill(sql, finished=ORDERS, elsewhere=ORDERS)
    return sql


def plan_of(sql: Sql, statement: str) -> Plan:
    found = sql(f"EXPLAIN (FORMAT JSON) {statement}")[0][0]
    return (found if isinstance(found, list) else json.loads(found))[0]["Plan"]


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def repeated_readings(plan: Plan) -> Iterator[str]:
    """Yield the tables that a plan reads completely for each row of another one."""
    for node in nodes(plan):
        parts = node.get("Plans", [])
        again = [part for part in parts if node["Node Type"] == "Nested Loop" and part is parts[-1]]
        # Hashed subplans have the same name, but none of those here reads a table.
        again += [part for part in parts if part.get("Parent Relationship") == "SubPlan"]
        for part in (below for each in again for below in nodes(each)):
            if part["Node Type"] == "Seq Scan" or (part["Node Type"] in BY_INDEX and "Index Cond" not in part):
                yield part.get("Relation Name") or part["Index Name"]


def test_many_orders_are_healthy(crowded: Sql) -> None:
    crowded("UPDATE order_ledger SET due_at = now() WHERE due_at IS NOT NULL")
    assert crowded("SELECT orders, open_orders FROM audit_summary") == [(ORDERS + DUE, DUE)]
    assert crowded("SELECT * FROM audit_violations LIMIT 5") == []


def test_no_check_is_quadratic(crowded: Sql) -> None:
    assert set(repeated_readings(plan_of(crowded, "SELECT * FROM audit_violations"))) <= TINY


@pytest.mark.parametrize("statement", QUADRATIC)
def test_check_finds_a_nested_loop(crowded: Sql, statement: str) -> None:
    assert list(repeated_readings(plan_of(crowded, statement))) != []
