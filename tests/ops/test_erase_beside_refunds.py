"""`python -m ops erase` while the order's refunds go on: no deadlock, and no personal data that comes back for good."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest

from domain.refunds import RefundStatus
from ops import erasure
from orchestrator import refund_statements
from tests.books import violations
from tests.ops.test_erase import EMAIL, USER, erase, where_found
from tests.waiting import eventually

__all__ = ["erase"]  # a fixture

# The limit of a statement's lock waits would end a deadlock before PostgreSQL finds it.
SAVE = refund_statements.SAVE.replace("10ms", "20s")
WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted"


@pytest.fixture
def sold(world):
    """The id of a completed order."""
    order = str(world.order(world.product()).json["order_ledger_id"])
    world.work()
    return order


def run(url, statement, **params):
    """One statement in its own transaction."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()


def test_end_of_a_refund_waits_for_an_erasure_without_a_deadlock(world, sold, url):
    refund = world.refund(sold, amount_cents=5, note="for Wilhelmina").json["refund_id"]
    world.run_once(until=RefundStatus.PAYMENT_REFUNDED)
    end = {"id": refund, "claim_number": 1, "expected_status": "PAYMENT_REFUNDED", "status": "SUCCEEDED"}
    rest = {"restocked": [], "not_restocked": [], "has_advanced": True, "retry_count": 0, "is_terminal": True}
    with closing(psycopg2.connect(url)) as connection, ThreadPoolExecutor(1) as thread:
        eraser = connection.cursor()
        eraser.execute(erasure.LOCK, {"ids": [sold]})
        saved = thread.submit(run, url, SAVE, entries=json.dumps([end | rest]), lease_s=30, renew_below_s=20)
        eventually(lambda: world.sql(WAITING))
        eraser.execute(erasure.REFUNDS, {"ids": [sold]})
        connection.commit()
        assert saved.result() == [(refund, 1)]
    assert world.sql("SELECT status, note FROM refunds") == [("SUCCEEDED", None)]
    assert violations(url) == {}


def test_note_that_comes_after_the_erasure_is_erased_by_the_next_run(world, sold, erase, url):
    assert erase("--user", USER, "--yes")[0] == 0
    world.refund(sold, key="k", amount_cents=5, note="Wilhelmina was not happy")
    world.work()
    assert where_found(world, "Wilhelmina") == {"refunds", "edge_idempotency_keys"}
    assert "Erased now: 1." in erase("--user", USER, "--yes")[1]
    assert where_found(world, "Wilhelmina", USER, EMAIL) == set()
    assert violations(url) == {}


def test_only_notes_on_erased_orders_are_erased(world, sold, erase):
    world.refund(sold, amount_cents=5, note="Wilhelmina")
    erase("--user", "11111111-2222-4333-8444-555555555555", "--yes")
    assert world.sql("SELECT note FROM refunds") == [("Wilhelmina",)]
    erase("--user", USER, "--yes")
    world.refund(sold, amount_cents=5)
    assert world.sql("SELECT * FROM pending_erasures") == []
