"""A page of orders is found by an index, whatever the filters, and costs no more with a hundred times the orders."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

import pytest

from domain.states import Status
from edge_api.cursor import Position
from edge_api.listing import page_of_orders
from tests.database.crowd import fill, known_id

FEW, MANY = 1_000, 100_000
INDEX_OF = {
    "nothing": ({}, "ix_order_ledger_client_created_at_id"),
    "key": ({"client_request_id": "k7"}, "uq_order_ledger_client_client_request_id"),
    "reference": ({"reference": "r-7"}, "ix_order_ledger_reference"),
    "user": ({"user_id": known_id("row", 7)}, "ix_order_ledger_client_user_id_created_at_id"),
    "email": ({"email": "A7@b.example"}, "ix_order_ledger_email"),
    "not refunded": ({"refund_status": "none"}, "ix_order_ledger_client_created_at_id"),
    "refunded in part": ({"refund_status": "partial"}, "ix_order_ledger_refunded_as"),
    "refunded": ({"refund_status": "full"}, "ix_order_ledger_refunded_as"),
    "failed": ({"status": {Status.FAILED}}, "ix_order_ledger_failed"),
    "declined": ({"status": {Status.AUTHORIZATION_FAILED}}, "ix_order_ledger_declined"),
    "completed": ({"status": {Status.COMPLETED}}, "ix_order_ledger_client_created_at_id"),
    "open": ({"status": {Status.AUTHORIZED}}, "ix_order_ledger_due_at"),
    "a time": ({"created_from": datetime(2020, 1, 1, tzinfo=UTC)}, "ix_order_ledger_client_created_at_id"),
}
CURSOR = {"cursor": Position(datetime(2100, 1, 1, tzinfo=UTC), known_id("order", 5))}
# What the crowd does not have: addresses, references, refunds, and a time for each order.
VARIETY = """
UPDATE order_ledger SET email = 'a' || substr(client_request_id, 2) || '@b.example',
  reference = 'r-' || substr(client_request_id, 2),
  refunded_cents = CASE WHEN status = 'COMPLETED' AND substr(client_request_id, 2)::int % 50 = 1
    THEN CASE WHEN substr(client_request_id, 2)::int % 100 = 1 THEN 999 ELSE 1 END ELSE 0 END,
  refund_reserved_cents = CASE WHEN status = 'COMPLETED' THEN 999 ELSE 0 END,
  created_at = now() - substr(client_request_id, 2)::int * interval '1 s'
"""


def crowd(sql, orders):
    fill(sql, finished=orders, elsewhere=1)
    sql("SET session_replication_role = replica")
    sql(VARIETY)
    sql("VACUUM (FULL, ANALYZE) order_ledger")
    return sql


@pytest.fixture(scope="module")
def few(new_migrated_database, connect):
    return crowd(connect(new_migrated_database()), FEW)


@pytest.fixture(scope="module")
def many(new_migrated_database, connect):
    return crowd(connect(new_migrated_database()), MANY)


def explain(sql, filters):
    statement, parameters = page_of_orders("shop", filters, 21)
    found = sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", **parameters)[0][0]
    return (found if isinstance(found, list) else json.loads(found))[0]["Plan"]


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def buffers(plan):
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize(("filters", "index"), INDEX_OF.values(), ids=INDEX_OF)
@pytest.mark.parametrize("more", [{}, CURSOR], ids=["first page", "a later page"])
def test_each_filter_has_its_index(many, filters, index, more):
    plan = explain(many, filters | more)
    assert index in {node.get("Index Name") for node in nodes(plan)}
    assert not [
        node for node in nodes(plan) if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "order_ledger"
    ]


PAIRS = [a | b for (a, _), (b, _) in itertools.combinations(INDEX_OF.values(), 2) if not set(a) & set(b)]


@pytest.mark.parametrize("filters", [*(filters for filters, _ in INDEX_OF.values()), *PAIRS], ids=str)
def test_page_reads_no_more_with_a_hundred_times_the_orders(few, many, filters):
    # 21 orders with their lines, each index a level deeper. The 99,000 orders themselves take 7,000 blocks.
    assert buffers(explain(many, filters)) <= buffers(explain(few, filters)) + 21 * 6


def test_status_that_changes_at_each_step_is_in_no_index(many):
    """A change of a column in an index is not heap-only. It would write to all indexes of the ledger."""
    columns = "SELECT indexdef FROM pg_indexes WHERE tablename = 'order_ledger'"
    assert [text for (text,) in many(columns) if "status" in text.replace("needs_attention", "")] == []
