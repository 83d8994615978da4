"""docs/personal-data.md says of every column of every table whether it is personal."""

import re
from pathlib import Path

from ops import erasure, retention

PAGE = Path(__file__).parents[2] / "docs" / "personal-data.md"
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", re.MULTILINE)
COLUMNS = """
SELECT c.relname, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND c.relname <> 'holdfast_version' GROUP BY c.relname
"""
# The tables that keep rows after their order was deleted, and why.
KEPT = {
    "bulk_jobs": "what operators did",
    "client_keys": "of a client",
    "deleted_events": "of a client",
    "deleted_reservations": "the stock that was sold",
    "edge_idempotency_keys": "the keys",
    "inventory_adjustments": "not of an order",
    "inventory_idempotency_keys": "not of an order",
    "operator_keys": "of an operator",
    "operator_alerts": "numbers of the whole system",
    "operator_log": "must stay",
    "process_heartbeats": "of a process",
    "operator_sessions": "of an operator",
    "order_minutes": "of nobody",
    "order_totals": "of nobody",
    "audit_runs": "of nobody",
    "product_versions": "not of an order",
    "products": "not of an order",
    "rate_limits": "of a client",
    "request_rates": "kept for an hour",
    "declines": "kept for an hour",
    "webhook_endpoints": "of a client",
    "webhook_secrets": "of a client",
    "refused_requests": "the keys",
}


def names(text):
    return set(re.findall(r"`(\w+)`", text))


def listed():
    every_column = PAGE.read_text(encoding="utf-8").partition("## Every column")[2]
    return {table: (names(personal), names(other)) for table, personal, other in ROW.findall(every_column)}


def test_every_column_is_listed_once(new_migrated_database, connect):
    found = {table: set(columns) for table, columns in connect(new_migrated_database())(COLUMNS)}
    assert {table: personal | other for table, (personal, other) in listed().items()} == found
    assert [table for table, (personal, other) in listed().items() if personal & other] == []


def test_every_personal_column_is_erased():
    statements = " ".join(erasure.ERASE)
    for table, (personal, _) in listed().items():
        for column in personal:
            assert table in statements, table
            assert column in statements or f"DELETE FROM {table}" in statements, f"{table}.{column}"


def test_every_table_of_an_order_loses_its_rows_with_the_order():
    deleted = set(re.findall(r"DELETE FROM (\w+)", " ".join(retention.DELETES)))
    assert deleted | KEPT.keys() == listed().keys()
