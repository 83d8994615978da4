"""The migration of events, on a database with orders, while orders are placed."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg2
import pytest

from common.schema import migrate
from tests.database.conftest import Sql
from tests.database.test_identity import AUTHORIZE, FILES, PLACE

BEFORE, AFTER = "holdfast_0013", "holdfast_0015"
MOVES = ("ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED")
COMPLETE = "UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL WHERE id = %(id)s"
EVENTS = "SELECT type, sequence FROM events WHERE order_ledger_id = %(id)s ORDER BY sequence"
FAULTS = "SELECT subject, detail FROM audit_events"


@pytest.fixture
def old(new_database):
    """A database before the migration: its address, and a function that runs SQL in it."""
    url = new_database()
    migrate.upgrade(url, BEFORE)
    with closing(Sql(url)) as sql:
        yield url, sql


def place(sql):
    ((id_,),) = sql(PLACE)
    sql(AUTHORIZE, id=id_)
    return id_


def complete(sql, id_):
    for status in MOVES:
        sql("UPDATE order_ledger SET status = %(status)s WHERE id = %(id)s", status=status, id=id_)
    sql(COMPLETE, id=id_)


def test_former_orders_need_no_events_and_later_ones_do(old):
    url, sql = old
    ended, in_flight = place(sql), place(sql)
    complete(sql, ended)
    files = sql(FILES)
    migrate.upgrade(url, AFTER)
    assert set(files) <= set(sql(FILES))  # no table was rewritten
    complete(sql, in_flight)
    new = place(sql)
    complete(sql, new)
    assert sql(EVENTS, id=ended) == []
    assert sql(EVENTS, id=in_flight) == [("order.completed", 1)]
    assert sql(EVENTS, id=new) == [("order.authorized", 1), ("order.completed", 2)]
    assert sql(FAULTS) == []
    sql("DELETE FROM events")
    assert sql(FAULTS) == [(f"order_ledger {new}", "COMPLETED, with no events")]


def test_orders_are_placed_during_the_migration_and_the_audit_agrees(old):
    url, sql = old
    is_over, placed, refused = threading.Event(), [], []

    def sell():
        with closing(Sql(url)) as shop:
            while not is_over.is_set():
                try:
                    id_ = place(shop)
                    complete(shop, id_)
                    placed.append(id_)
                except psycopg2.Error as error:
                    refused.append(error)

    sellers = [threading.Thread(target=sell) for _ in range(3)]
    for seller in sellers:
        seller.start()
    migrate.upgrade(url, AFTER)
    later = len(placed)
    while len(placed) < later + 10 and not refused:
        is_over.wait(0.01)
    is_over.set()
    for seller in sellers:
        seller.join()
    assert refused == []
    assert sql(FAULTS) == []
    assert sql("SELECT count(*) > 0 FROM order_ledger WHERE has_events") == [(True,)]


def test_interrupted_migration_can_be_repeated(old):
    url, sql = old
    migrate.upgrade(url, AFTER)
    id_ = place(sql)
    sql(f"UPDATE holdfast_version SET version_num = '{BEFORE}'")
    migrate.upgrade(url, AFTER)
    assert sql("SELECT has_events FROM order_ledger") == [(True,)]
    assert sql(EVENTS, id=id_) == [("order.authorized", 1)]


def test_events_need_no_sequence(old):
    url, sql = old
    before = sql("SELECT count(*) FROM pg_sequence")
    migrate.upgrade(url, AFTER)
    assert sql("SELECT count(*) FROM pg_sequence") == before
