"""The models and the migrations make the same tables, columns, constraints, indexes and triggers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from urllib.parse import urlsplit

import psycopg2
import pytest
from sqlalchemy import create_engine, make_url

from common.schema.tables import metadata

for service in ("inventory_service", "orders_service"):
    import_module(f"{service}.models")
TABLES = (
    "products", "inventory_adjustments", "order_reservations", "inventory_reservations", "inventory_idempotency_keys",
    "orders", "order_items",
)  # fmt: skip

COLUMNS = """
SELECT column_name, data_type, character_maximum_length, is_nullable, column_default FROM information_schema.columns
WHERE table_name = %(table)s ORDER BY ordinal_position
"""
CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %(table)s::regclass ORDER BY conname
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %(table)s ORDER BY indexname"
TRIGGERS = """
SELECT pg_get_triggerdef(pg_trigger.oid), prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal ORDER BY tgname
"""
QUERIES = {"columns": COLUMNS, "constraints": CONSTRAINTS, "indexes": INDEXES, "triggers": TRIGGERS}


@pytest.fixture(scope="module")
def modelled_url(migrated_url: str) -> Iterator[str]:
    """A database that the models make, on the same server as the migrated one."""
    connection = psycopg2.connect(migrated_url)
    connection.autocommit = True
    connection.cursor().execute("CREATE DATABASE modelled")
    engine = create_engine(make_url(migrated_url).set(drivername="postgresql+psycopg2", database="modelled"))
    metadata.create_all(engine, tables=[metadata.tables[name] for name in TABLES])
    engine.dispose()
    yield urlsplit(migrated_url)._replace(path="/modelled").geturl()
    connection.cursor().execute("DROP DATABASE modelled")
    connection.close()


def described(url: str, table: str) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for name, query in QUERIES.items():
            cursor.execute(query, {"table": table})
            found[name] = cursor.fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("table", TABLES)
def test_models_and_migrations_make_the_same_table(migrated_url, modelled_url, table):
    assert described(migrated_url, table) == described(modelled_url, table)


def test_names_follow_the_convention(migrated_url):
    names = [name for table in TABLES for name, _ in described(migrated_url, table)["constraints"]]
    assert all(name.startswith(("pk_", "fk_", "uq_", "ck_")) or name.endswith("_not_null") for name in names)
