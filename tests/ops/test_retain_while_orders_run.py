"""`ops retain` on a real system: thousands of old orders go while new ones are placed and completed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2

from tests.audit.test_audit_command import run
from tests.books import violations
from tests.database.conftest import Sql
from tests.database.crowd import fill
from tests.ops.test_data_commands_killed import OLD
from tests.system.conftest import place
from tests.system.stack import running
from tests.waiting import eventually

OLD_ORDERS, NEW_ORDERS = 3_000, 60
ARE_LEFT = "SELECT count(*) FROM order_ledger WHERE created_at < now() - interval '90 days'"


def test_old_orders_go_while_new_ones_are_completed(new_migrated_database, tmp_path, monkeypatch):
    monkeypatch.setenv("RETAIN_ORDERS_DAYS", "90")
    monkeypatch.setenv("RETAIN_ANSWERS_DAYS", "30")
    url = new_migrated_database()
    with closing(Sql(url)) as sql, closing(psycopg2.connect(url)) as other, running(url, tmp_path) as stack:
        fill(sql, finished=OLD_ORDERS, elsewhere=OLD_ORDERS, due=0)
        sql(OLD)
        with other.cursor() as cursor, ThreadPoolExecutor(2) as pool:
            cursor.execute(f"{ARE_LEFT.replace('count(*)', 'id')} ORDER BY id DESC LIMIT 1 FOR UPDATE")
            buying = pool.submit(place, stack, stack.product(), NEW_ORDERS, buyers=3)
            deleting = pool.submit(run, url, "retain")
            while not deleting.done():
                assert violations(url, at_rest=False) == {}
            code, out, err = deleting.result()
            assert (code, err) == (0, "")
            assert f"{OLD_ORDERS - 1:,} orders" in out
            placed = buying.result()
            eventually(lambda: sql("SELECT count(*) FROM order_ledger WHERE due_at IS NOT NULL") == [(0,)], 60)
            assert sql("SELECT count(*) FROM order_ledger WHERE status = 'COMPLETED'")[0][0] >= len(placed)
        other.rollback()
        assert run(url, "retain")[0] == 0
        assert sql(ARE_LEFT) == [(0,)]
        assert violations(url) == {}
