"""Keys depend on no collation and no sequence."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg2
import pytest
from alembic.util import CommandError

from common.schema import locks, migrate
from tests.database.conftest import Sql
from tests.database.valid_rows import ID, OTHER_ID, VALID
from tests.other_session import other_session

BEFORE, AFTER = "holdfast_0005", "holdfast_0006"
OTHER_COLLATIONS = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid,
  unnest(indcollation) AS used
WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '%_version_%'
  AND used NOT IN (0, 'pg_catalog."C"'::regcollation)
"""
FILES = """
SELECT relname, pg_relation_filenode(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""
PLACE = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, due_at)
VALUES (gen_random_uuid(), 'shop', gen_random_uuid(), '', gen_random_uuid(), '', 1, 'USD', '', 'AWAITING_AUTHORIZATION',
  now())
RETURNING id
"""
AUTHORIZE = """
WITH entry AS (
  UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = id WHERE id = %(id)s RETURNING id
)
INSERT INTO outbox (order_ledger_id, event_type, payload) SELECT id, 'order.authorized', '{}' FROM entry
"""
# Whether the column existed at that revision without a sequence.
IS_GIVEN = """
SELECT 1 FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attname = %(name)s AND attidentity = ''
"""
WALKS = "SELECT array_agg(to_status ORDER BY id) FROM order_ledger_history GROUP BY order_ledger_id"


@pytest.fixture
def old(new_database):
    """A filled database before the migration, and a role that may read its audit."""
    url = new_database()
    migrate.upgrade(url, BEFORE)
    with closing(Sql(url)) as sql:
        sql("CREATE ROLE identity_auditor")
        sql("GRANT SELECT ON audit_violations, audit_summary TO identity_auditor")
        for table, row in VALID.items():
            if given := {name: row[name] for name in row if sql(IS_GIVEN, table=table, name=name)}:
                sql.insert(table, given)
        yield url, sql
        sql("DROP OWNED BY identity_auditor; DROP ROLE identity_auditor")


def may_read(sql):
    return sql("SELECT has_table_privilege('identity_auditor', 'audit_violations', 'SELECT')") == [(True,)]


def test_every_index_on_text_sorts_byte_by_byte(sql):
    assert sql(OTHER_COLLATIONS) == []


def test_no_key_comes_from_a_sequence(sql):
    assert sql("SELECT relname FROM pg_class WHERE relkind = 'S'") == []


def test_migration_rewrites_no_table_and_keeps_rows_and_grants(old):
    url, sql = old
    files = sql(FILES)
    migrate.upgrade(url, AFTER)
    assert sql(FILES) == files
    assert may_read(sql)
    assert sql("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]
    sql("UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = 'auth_1'")
    assert sql(WALKS) == [(["AWAITING_AUTHORIZATION", "AUTHORIZED", "AUTHORIZED"],)]  # the last one is VALID's


def test_migration_resumes_where_a_locked_table_stopped_it(old, monkeypatch):
    monkeypatch.setattr(locks, "TABLE_LOCKS_WITHIN_S", 0)
    url, sql = old
    with other_session(url) as cursor:
        cursor.execute("LOCK TABLE products IN ACCESS SHARE MODE")
        with pytest.raises(locks.LockUnavailable):
            migrate.upgrade(url, AFTER)
    assert may_read(sql)
    migrate.upgrade(url, AFTER)
    assert sql(OTHER_COLLATIONS) == []
    assert may_read(sql)


def test_migration_names_duplicates_caused_by_a_changed_sort_order(old):
    url, sql = old
    sql("ALTER TABLE products DROP CONSTRAINT uq_products_sku")
    sql.insert("products", VALID["products"] | {"id": OTHER_ID})
    with pytest.raises(CommandError, match=r"products has duplicates.*\(sku\)=\(sku-1\) is duplicated"):
        migrate.upgrade(url, AFTER)
    sql("UPDATE products SET sku = 'sku-2' WHERE id = %(id)s", id=OTHER_ID)
    sql("ALTER TABLE products ADD CONSTRAINT uq_products_sku UNIQUE (sku)")
    migrate.upgrade(url, AFTER)
    assert sql(OTHER_COLLATIONS) == []


def test_orders_are_accepted_during_the_migration(old):
    url, sql = old
    is_over, placed, refused = threading.Event(), [], []

    def sell():
        with closing(Sql(url)) as shop:
            while not is_over.is_set():
                try:
                    ((id_,),) = shop(PLACE)
                    shop(AUTHORIZE, id=id_)
                except psycopg2.Error as error:
                    refused.append(error)
                placed.append(id_)

    sellers = [threading.Thread(target=sell) for _ in range(3)]
    for seller in sellers:
        seller.start()
    migrate.upgrade(url, AFTER)
    is_over.set()
    for seller in sellers:
        seller.join()
    assert refused == []
    assert sql(f"{WALKS} HAVING order_ledger_id <> '{ID}'") == [(["AWAITING_AUTHORIZATION", "AUTHORIZED"],)] * len(
        placed
    )


def test_downgrade_keeps_the_rows(old):
    url, sql = old
    migrate.upgrade(url, AFTER)
    for _ in range(2):
        ((id_,),) = sql(PLACE)
        sql(AUTHORIZE, id=id_)
    walks = sorted(sql(WALKS))
    migrate.downgrade(url, BEFORE)
    assert sorted(sql(WALKS)) == walks
    ((id_,),) = sql(PLACE)
    sql(AUTHORIZE, id=id_)
    assert sql("SELECT count(*), count(DISTINCT id) FROM order_ledger_history") == [(8, 8)]
