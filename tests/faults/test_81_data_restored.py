"""Row 81: a data-only dump is restored into a migrated database. Required: a documented procedure."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
import requests

from common.schema import migrate
from common.schema.accounts import address_of
from local.binaries import find_binaries
from ops.check import check
from tests.books import violations
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack, new_key
from tests.system.stack import WEB_PROCESSES, Stack
from tests.waiting import eventually

# As the documentation has them.
PAGE = (Path(__file__).parents[2] / "docs" / "back-up-and-restore.md").read_text()
(DUMP,) = re.findall(r"^pg_dump .*--data-only.*$", PAGE, re.MULTILINE)
(RESTORE,) = re.findall(r"^{\n.*?^} \| psql .*?$", PAGE, re.MULTILINE | re.DOTALL)
WITHOUT_CARE = """pg_restore --data-only --single-transaction --dbname="$DATABASE_URL" data.dump"""
ROWS = """
SELECT count(*), sum(refund_reserved_cents), sum(refunded_cents), (SELECT count(*) FROM order_ledger_history),
  (SELECT count(*) FROM outbox), (SELECT sum(refunded_quantity) FROM order_ledger_items),
  (SELECT count(*) FROM events) FROM order_ledger
"""
OPEN = """
SELECT (SELECT count(*) FROM order_ledger WHERE due_at IS NOT NULL) + count(*) FROM refunds WHERE due_at IS NOT NULL
"""


def shell(command: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{find_binaries()}:{os.environ['PATH']}", "DATABASE_URL": url}
    return subprocess.run(command, shell=True, env=environ, cwd=folder, capture_output=True, text=True, check=False)


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.fixture
def restored(stack: SharedStack) -> Iterator[str]:
    """A migrated, empty database owned by a role without special rights."""
    stack.sql("CREATE ROLE merchant LOGIN PASSWORD 'merchant'")
    stack.sql("CREATE DATABASE restored OWNER merchant")
    url = urlsplit(address_of(stack.server.url, "merchant", "merchant"))._replace(path="/restored").geturl()
    migrate.upgrade(url)
    yield url
    stack.sql("DROP DATABASE restored WITH (FORCE)")
    stack.sql("DROP ROLE merchant")


def refunded(stack: SharedStack, product: str) -> None:
    """Refund the completed order's piece, and leave another refund open: it continues in the restored database."""
    (order,) = (id_ for (id_,) in stack.sql("SELECT id::text FROM order_ledger WHERE status = 'COMPLETED'"))
    items = [{"product_id": product, "quantity": 1}]
    assert stack.post_refund(order, new_key(), items=items, restock=True).status_code == 202
    stack.settle()
    stack.end(*ORCHESTRATORS)
    assert stack.post_refund(order, new_key(), amount_cents=100).status_code == 202


def test_orders_continue_in_the_restored_database(stack: SharedStack, restored: str, tmp_path: Path) -> None:
    product = stack.product(stock=5)
    first_key = new_key()
    assert stack.post_order(first_key, product, quantity=2).status_code == 202
    assert stack.post_order(new_key(), product, quantity=9).status_code == 202  # more than the stock
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1, "FAILED": 1}
    refunded(stack, product)
    assert stack.post_order(new_key(), product).status_code == 202

    assert shell(DUMP, stack.server.url, tmp_path).returncode == 0
    refused = shell(WITHOUT_CARE, restored, tmp_path)
    assert "an order_ledger entry begins as AWAITING_AUTHORIZATION" in refused.stderr

    done = shell(RESTORE, restored, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert query(restored, ROWS) == query(stack.server.url, ROWS)
    assert violations(restored, at_rest=False) == {}
    assert not any(problems for each, problems in check({"DATABASE_URL": restored}) if each.name == "triggers")

    with Stack(restored, tmp_path) as shop:
        shop.start(*WEB_PROCESSES)
        shop.start(*ORCHESTRATORS[:1])  # after the services, because its retries are quick
        eventually(lambda: query(restored, OPEN) == [(0,)], 30)
        again = requests.post(
            f"{shop.url('web')}/orders",
            json=stack.order_body(product, quantity=2),
            headers={"Idempotency-Key": first_key},
            timeout=30,
        )
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert query(restored, "SELECT status, count(*) FROM order_ledger GROUP BY status ORDER BY status") == [
        ("COMPLETED", 2),
        ("FAILED", 1),
    ]
    assert query(restored, "SELECT status, amount_cents FROM refunds ORDER BY amount_cents") == [
        ("SUCCEEDED", 100),
        ("SUCCEEDED", 500),
    ]
    assert violations(restored) == {}


def test_truncated_dump_restores_nothing(stack: SharedStack, restored: str, tmp_path: Path) -> None:
    assert stack.post_order(new_key(), stack.product()).status_code == 202
    stack.settle()
    assert shell(DUMP, stack.server.url, tmp_path).returncode == 0
    dump = tmp_path / "data.dump"
    dump.write_bytes(dump.read_bytes()[:-500])
    shell(RESTORE, restored, tmp_path)
    assert query(restored, "SELECT count(*) FROM order_ledger") == [(0,)]
    assert not any(problems for each, problems in check({"DATABASE_URL": restored}) if each.name == "triggers")
