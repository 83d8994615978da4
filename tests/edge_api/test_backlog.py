"""The age of the backlog, as the database reports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.database.database import Database
from edge_api.notifier import Notifier
from edge_api.store import Store

Sql = Callable[..., list[dict[str, Any]]]
Add = Callable[..., list[str]]
ENTRIES = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, due_at, payment_authorization_id)
SELECT gen_random_uuid(), 'shop', gen_random_uuid(), '', gen_random_uuid(), 'a@b.example', 1, 'USD', 'r',
  'AUTHORIZED', now() - %(age)s * interval '1 second', 'auth_1'
FROM generate_series(1, %(entries)s) RETURNING id
"""


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    database = Database(url, name="test", size=2)
    yield Store(database, 30, 60, Notifier(database, 0))
    database.close()


@pytest.fixture
def add(sql: Sql) -> Add:
    """`add(20, age=5)`: add 20 authorized orders that have been due for 5 s. :returns: their ids"""

    def insert(entries: int, age: int) -> list[str]:
        rows = sql(f"SET session_replication_role = replica; {ENTRIES}", age=age, entries=entries)
        return [row["id"] for row in rows]

    return insert


def test_empty_ledger_has_no_backlog(store: Store) -> None:
    assert store.backlog_age_s() == 0


def test_backlog_is_as_old_as_its_oldest_orders(store: Store, add: Add) -> None:
    add(20, age=100)
    add(20, age=5)
    assert store.backlog_age_s() == pytest.approx(100, abs=20)


def test_few_orders_that_cannot_be_claimed_are_no_backlog(store: Store, add: Add) -> None:
    """For example, their rows are locked. They must not stop all sales."""
    add(9, age=3600)
    add(20, age=5)
    assert store.backlog_age_s() == pytest.approx(5, abs=20)


def test_orders_that_wait_or_are_set_aside_are_no_backlog(store: Store, add: Add, sql: Sql) -> None:
    add(20, age=-60)
    for id_ in add(20, age=100):
        sql("INSERT INTO set_aside_entries VALUES (%(id)s, 'why', now(), now() + interval '1 minute')", id=id_)
    assert store.backlog_age_s() == 0
