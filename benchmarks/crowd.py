"""A database as it is after many orders: copies of one that was really taken, so that each row has its true size.

No triggers and no foreign keys are asked, all indexes are kept, and as ids are random, entries go in where they may.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg2

# Each table in which an order leaves rows, and the columns in which one order differs from another.
ORDER_TABLES = {
    "order_ledger": {"id", "client_request_id", "payment_authorization_id", "order_id"},
    "order_ledger_items": {"order_ledger_id"},
    "order_ledger_history": {"order_ledger_id"},
    "outbox": {"order_ledger_id"},
    "orders": {"id", "order_ledger_id"},
    "order_items": {"order_id"},
    "order_reservations": {"order_id"},
    "inventory_reservations": {"id", "order_id"},
    "payment_authorizations": {"id", "idempotency_key", "capture_id"},
    "payment_idempotency_keys": {"key"},
}
OTHER_TABLES = {"alembic_version", "products", "inventory_adjustments", "inventory_idempotency_keys"}

# A due retry has no rows in the participants' tables that anybody reads, and these are other than a finished order's.
DUE = {
    "order_ledger": {
        "status": "'ORDER_CREATED'",
        "due_at": "now() - n * interval '1 ms'",
        "next_retry_at": "now() - n * interval '1 ms'",
        "retry_count": "1",
    },
    "order_ledger_items": {},
    "order_ledger_history": {},
    "outbox": {"status": "'PENDING'", "processed_at": "NULL"},
}
NOT_REACHED = """
DELETE FROM template_order_ledger_history WHERE to_status IN ('INVENTORY_RESERVED', 'PAYMENT_CAPTURED', 'COMPLETED')
"""

# The nth order's own value: of the same kind and length.
PREPARE = """
SET session_replication_role = replica;
CREATE FUNCTION pg_temp.nth(value uuid, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
  $$ SELECT md5(value::text || n)::uuid $$;
CREATE FUNCTION pg_temp.nth(value text, n integer) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(value, -32) || md5(value || n) $$;
"""

COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_identity = 'NO' AND is_generated = 'NEVER'
"""

# OFFSET 0: the rows of an order stay beside each other, as they do where orders come one after the other.
COPY = """
INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(%s, %s) AS n
CROSS JOIN LATERAL (SELECT * FROM template_{table} WHERE n > 0 OFFSET 0) AS template
"""

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"

# Of tables and their indexes, without the maps of free space, which a small table has in the size of a large one.
BYTES = """
SELECT sum(pg_relation_size(class.oid))::bigint
FROM pg_class AS class LEFT JOIN pg_index AS index ON index.indexrelid = class.oid
WHERE COALESCE(index.indrelid, class.oid) = ANY (%s::regclass[])
"""


class UnknownRows(Exception):
    """An order leaves rows in a table that is not in ORDER_TABLES."""


def fill(url: str, finished: int, due: int) -> float:
    """Multiply the one order of this database to `finished`, and add retries that are due now.

    :returns: bytes of an order, with all its indexes
    """
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        _check(cursor)
        cursor.execute(PREPARE)
        for table in ORDER_TABLES:
            cursor.execute(f"CREATE TEMP TABLE template_{table} AS TABLE {table}")
        before = _bytes(cursor)
        for table in ORDER_TABLES:
            _copy(cursor, table, 2, finished, {})
        bytes_an_order = (_bytes(cursor) - before) / (finished - 1)
        cursor.execute(NOT_REACHED)
        for table, otherwise in DUE.items():
            _copy(cursor, table, finished + 1, finished + due, otherwise)
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")  # or what was written here would be brought to the disk while others are measured
    return bytes_an_order


def _copy(cursor: Any, table: str, first: int, last: int, otherwise: Mapping[str, str]) -> None:
    cursor.execute(COLUMNS, (table,))
    columns = [name for (name,) in cursor.fetchall()]
    own = {**dict.fromkeys(ORDER_TABLES[table], "pg_temp.nth(template.{0}, n)"), **otherwise}
    values = ", ".join(own.get(name, "template.{0}").format(name) for name in columns)
    cursor.execute(COPY.format(table=table, columns=", ".join(columns), values=values), (first, last))


def _bytes(cursor: Any) -> int:
    cursor.execute(BYTES, (list(ORDER_TABLES),))
    return int(cursor.fetchone()[0])


def _check(cursor: Any) -> None:
    cursor.execute(TABLES)
    for table in {name for (name,) in cursor.fetchall()} - ORDER_TABLES.keys() - OTHER_TABLES:
        cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")
        if cursor.fetchone():
            raise UnknownRows(table)
