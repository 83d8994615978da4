"""The complete system in one thread, and what its ledger says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from common.database.database import Database, Row
from tests.audit.conftest import one_world, world

__all__ = ["one_world", "world"]  # fixtures

# What the sums must agree with, counted in the books themselves.
IN_THE_BOOKS = """
SELECT count(*) FILTER (WHERE status NOT IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED')) AS accepted,
  count(*) FILTER (WHERE status = 'AUTHORIZATION_FAILED' AND failure_code <> 'cancelled') AS declined,
  count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
  count(*) FILTER (WHERE status = 'FAILED' AND failure_code <> 'cancelled') AS failed,
  count(*) FILTER (WHERE status IN ('FAILED', 'AUTHORIZATION_FAILED') AND failure_code = 'cancelled') AS cancelled,
  (SELECT count(*) FROM refunds WHERE status = 'SUCCEEDED') AS refunds_succeeded,
  (SELECT count(*) FROM refunds WHERE status = 'FAILED') AS refunds_failed
FROM order_ledger
"""
# A transaction of anybody on the server holds events back: autovacuum, or one of another test that ends late.
ARE_ALL_SHOWN = """
SELECT NOT EXISTS (SELECT FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())) AS yes
"""


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=4)
    yield database
    database.close()


@pytest.fixture
def in_the_books(database: Database) -> Callable[[], Row]:
    def read() -> Row:
        (row,) = database.all(IN_THE_BOOKS)
        return row

    return read
