"""Fill a database with copies of a real order, so that each row has a realistic size.

Rows are inserted with all indexes in place and ids of the real kind, so the indexes look as they would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

# The tables in which an order leaves rows, and the columns in which orders differ. The table with the most work comes
# first because several are filled at once.
ORDER_TABLES = {
    "order_ledger_history": {"order_ledger_id"},
    "order_ledger": {"id", "client_request_id", "payment_authorization_id", "order_id"},
    "order_ledger_items": {"order_ledger_id"},
    "outbox": {"order_ledger_id"},
    "orders": {"id", "order_ledger_id"},
    "order_items": {"order_id"},
    "order_reservations": {"order_id"},
    "inventory_reservations": {"id", "order_id"},
    "payment_authorizations": {"id", "idempotency_key", "capture_id"},
    "payment_idempotency_keys": {"key"},
    "events": {"order_ledger_id"},
}
# The feed's key differs, too: the nth order's events come n seconds later.
EVENTS = {
    "position": "template.position + n::bigint * 1000000",
    "id": "left(template.id, 15) || lpad(to_hex(template.position + n::bigint * 1000000), 13, '0')",
}
OTHER_TABLES = {
    *(
        "holdfast_version",
        "client_keys",
        "operator_log",
        "products",
        "inventory_adjustments",
        "inventory_idempotency_keys",
        # Sums, and signs of life
        "order_minutes",
        "order_totals",
        "process_heartbeats",
        # Operators
        "operator_keys",
    )
}

# The columns that differ in a due retry. It has no rows in the participants' tables, because nothing reads them.
DUE = {
    "order_ledger": {
        "status": "'ORDER_CREATED'",
        "due_at": "now() - n * interval '1 ms'",
        "next_retry_at": "now() - n * interval '1 ms'",
        "retry_count": "1",
    },
    "order_ledger_items": {},
    "order_ledger_history": {},
    "events": EVENTS,
    "outbox": {"status": "'PENDING'", "processed_at": "NULL"},
}
NOT_REACHED = """
DELETE FROM crowd.order_ledger_history WHERE to_status IN ('INVENTORY_RESERVED', 'PAYMENT_CAPTURED', 'COMPLETED');
DELETE FROM crowd.events WHERE type = 'order.completed'
"""

# The creation time of an id of version 7, in milliseconds: its first part.
MILLISECONDS = "('x' || translate(left({}::text, 13), '-', ''))::bit(48)::bigint"

DAY_MS = 24 * 60 * 60 * 1000
AGO = "template.{} - interval '{} days'"

# The value of the nth order, of the same kind and length.
PREPARE = f"""
CREATE SCHEMA crowd;
CREATE FUNCTION crowd.nth(value uuid, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN substr(value::text, 15, 1) = '7'
    THEN lpad(to_hex({MILLISECONDS.format("value")} + n - {{age_ms}}), 12, '0')
      || '7' || substr(md5(value::text || n), 14)
    ELSE md5(value::text || n) END::uuid $$;
CREATE FUNCTION crowd.nth(value text, n integer) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN value ~ ':[0-9a-f-]{{{{36}}}}$' THEN left(value, -36) || crowd.nth(right(value, 36)::uuid, n)
    ELSE left(value, -32) || md5(value || n) END $$;
"""

COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_identity = 'NO' AND is_generated = 'NEVER'
"""

# OFFSET 0 keeps the rows of an order together, as when orders come one after the other.
COPY = """
INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(%s, %s) AS n
CROSS JOIN LATERAL (SELECT * FROM crowd.{table} WHERE n > 0 OFFSET 0) AS template
"""

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"

# The size of tables and their indexes, without the free space maps, which are as large for a small table.
BYTES = """
SELECT sum(pg_relation_size(class.oid))::bigint
FROM pg_class AS class LEFT JOIN pg_index AS index ON index.indexrelid = class.oid
WHERE COALESCE(index.indrelid, class.oid) = ANY (%s::regclass[])
"""


class UnknownRows(Exception):
    """An order leaves rows in a table that is not in ORDER_TABLES."""


def fill(url: str, finished: int, due: int, days_ago: int = 0) -> float:
    """Multiply the one order of this database to `finished` orders, and add retries that are due now.

    :param days_ago: when the orders were placed and ended
    :returns: bytes of an order, including all indexes
    """
    with _connected(url) as cursor, ThreadPoolExecutor(os.cpu_count()) as aside:
        _check(cursor)
        cursor.execute(PREPARE.format(age_ms=days_ago * DAY_MS))
        for table in ORDER_TABLES:
            cursor.execute(f"CREATE TABLE crowd.{table} AS TABLE {table}")
        before = _bytes(cursor)
        ended = {"order_ledger": {each: AGO.format(each, days_ago) for each in ("created_at", "updated_at")}}
        ended["events"] = {**EVENTS, "at": AGO.format("at", days_ago)}
        list(aside.map(lambda table: _copy(url, table, 2, finished, ended.get(table, {})), ORDER_TABLES))
        bytes_an_order = (_bytes(cursor) - before) / (finished - 1)
        cursor.execute(NOT_REACHED)
        for table, otherwise in DUE.items():
            _copy(url, table, finished + 1, finished + due, otherwise)
        cursor.execute("DROP SCHEMA crowd CASCADE")
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")  # otherwise these pages would be written while something else is measured
    return bytes_an_order


def _copy(url: str, table: str, first: int, last: int, otherwise: Mapping[str, str]) -> None:
    with _connected(url) as cursor:
        cursor.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
        cursor.execute(COLUMNS, (table,))
        columns = [name for (name,) in cursor.fetchall()]
        own = {**dict.fromkeys(ORDER_TABLES[table], "crowd.nth(template.{0}, n)"), **otherwise}
        values = ", ".join(own.get(name, "template.{0}").format(name) for name in columns)
        cursor.execute(COPY.format(table=table, columns=", ".join(columns), values=values), (first, last))


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET client_min_messages = warning")
        yield cursor


def _bytes(cursor: Any) -> int:
    cursor.execute(BYTES, (list(ORDER_TABLES),))
    return int(cursor.fetchone()[0])


def _check(cursor: Any) -> None:
    cursor.execute(TABLES)
    for table in {name for (name,) in cursor.fetchall()} - ORDER_TABLES.keys() - OTHER_TABLES:
        cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")
        if cursor.fetchone():
            raise UnknownRows(table)
