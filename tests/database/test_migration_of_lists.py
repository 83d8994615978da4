"""The migration of lists of orders and versions of products, on a database with rows, while orders are placed."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg2
import pytest

from common.schema import locks, migrate
from tests.database.catalog import catalog
from tests.database.conftest import Sql
from tests.database.test_identity import AUTHORIZE, FILES, IS_GIVEN, PLACE
from tests.database.valid_rows import ID, VALID
from tests.other_session import other_session

BEFORE, AFTER = "holdfast_0013", "holdfast_0014"
VERSIONS = "INSERT INTO product_versions VALUES (%(id)s, 1, 'Tea', 5, true), (%(id)s, 2, 'Decaf', 7, false)"


@pytest.fixture
def old(new_database):
    """A filled database before the migration."""
    url = new_database()
    migrate.upgrade(url, BEFORE)
    with closing(Sql(url)) as sql:
        for table, row in VALID.items():
            if given := {name: row[name] for name in row if sql(IS_GIVEN, table=table, name=name)}:
                sql.insert(table, given)
        yield url, sql


def test_no_table_is_rewritten_and_every_constraint_is_checked(old):
    url, sql = old
    files = sql(FILES)
    migrate.upgrade(url, AFTER)
    assert [row for row in sql(FILES) if row[0] != "product_versions"] == files
    assert sql("SELECT reference, metadata, refunded_cents FROM order_ledger") == [(None, None, 0)]
    assert sql("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]


def test_orders_are_placed_during_the_migration(old):
    """By processes of the former release, which do not know the new columns."""
    url, sql = old
    is_over, placed, refused = threading.Event(), [], []

    def sell():
        with closing(Sql(url)) as shop:
            while not is_over.is_set():
                try:
                    ((id_,),) = shop(PLACE)
                    shop(AUTHORIZE, id=id_)
                    placed.append(id_)
                except psycopg2.Error as error:
                    refused.append(error)

    sellers = [threading.Thread(target=sell) for _ in range(2)]
    for seller in sellers:
        seller.start()
    migrate.upgrade(url, AFTER)
    is_over.set()
    for seller in sellers:
        seller.join()
    assert refused == []
    assert sql("SELECT count(*) FROM order_ledger WHERE status = 'AUTHORIZED'") == [(len(placed),)]


def test_migration_resumes_after_a_locked_table(old, monkeypatch):
    url, sql = old
    with monkeypatch.context() as impatient, other_session(url) as cursor:
        impatient.setattr(locks, "TABLE_LOCKS_WITHIN_S", 0)
        cursor.execute("LOCK TABLE order_ledger IN ACCESS SHARE MODE")
        with pytest.raises(locks.LockUnavailable):
            migrate.upgrade(url, AFTER)
    migrate.upgrade(url, AFTER)
    assert sql("SELECT count(*) FROM order_ledger WHERE refunded_cents = 0") == [(1,)]


def test_migration_that_was_killed_can_be_run_again(old):
    """The first attempt left everything but its end: one index is not valid, and one is missing."""
    url, sql = old
    migrate.upgrade(url, AFTER)
    complete = catalog(sql)
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_order_ledger_email'::regclass")
    sql("DROP INDEX ix_order_ledger_failed")
    sql("UPDATE holdfast_version SET version_num = %(before)s", before=BEFORE)
    migrate.upgrade(url, AFTER)
    assert catalog(sql) == complete


def test_downgrade_keeps_what_a_product_is_sold_as(old):
    url, sql = old
    migrate.upgrade(url, AFTER)
    sql(VERSIONS, id=ID)
    migrate.downgrade(url, BEFORE)
    assert sql("SELECT name, price_cents, is_active FROM products") == [("Decaf", 7, False)]
