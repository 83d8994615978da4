"""Row 65: NOTIFY's queue is full, because a listener sits in a transaction. Required: orders are still accepted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
import pytest

from tests.audit.test_audit_command import run
from tests.faults.shared_stack import LISTENS, ORCHESTRATORS, SharedStack
from tests.waiting import eventually

ORDERS = 8
WARNING = "the queue of NOTIFY is full"


@pytest.fixture(autouse=True)
def small_queue(stack: SharedStack) -> None:
    if stack.sql("SELECT 1 FROM pg_settings WHERE name = 'max_notify_queue_pages'") == []:
        pytest.skip("PostgreSQL 17 or newer is needed: before, NOTIFY's queue holds 8 GB, which takes too long to fill")


@contextmanager
def full_queue(stack: SharedStack) -> Iterator[Any]:
    """The connection of a listener that reads none of its notifications."""
    with closing(psycopg2.connect(stack.server.url)) as listener, listener.cursor() as cursor:
        cursor.execute("LISTEN elsewhere")
        listener.commit()
        cursor.execute("SELECT 1")  # and stays in this transaction
        with suppress(psycopg2.errors.ProgramLimitExceeded):
            while True:
                stack.sql("SELECT pg_notify('elsewhere', repeat('x', 7000) || n) FROM generate_series(1, 20) AS n")
        yield listener


def test_full_notify_queue_does_not_stop_sales(stack: SharedStack) -> None:
    product = stack.product()
    with full_queue(stack) as listener:
        stack.restart("web", NOTIFY_COALESCE_MS="0")
        for number in range(ORDERS):
            response = stack.post_order(f"order {number}", product)
            assert response.status_code == 202, response.text
        eventually(lambda: stack.by_status() == {"COMPLETED": ORDERS})
        assert 1 <= stack.log("web").count(WARNING) <= 2, "once a minute for each of two workers"
        listener.rollback()
    stack.settle()


def test_notifications_resume_when_the_queue_has_room(stack: SharedStack) -> None:
    product = stack.product()
    with full_queue(stack) as listener:
        stack.restart("web", "orchestrator.1", POLL_INTERVAL_S="3600")
        stack.end("orchestrator.2")
        assert stack.post_order("in the dark", product).status_code == 202
        eventually(lambda: stack.backends(LISTENS), 30)
        listener.rollback()
    eventually(lambda: stack.by_status() == {"COMPLETED": 1})  # the edge notifies once there is room
    assert stack.post_order("in the light", product).status_code == 202
    eventually(lambda: stack.by_status() == {"COMPLETED": 2})
    stack.settle()


def test_operator_can_retry_an_order_while_the_queue_is_full(stack: SharedStack) -> None:
    product = stack.product()
    stack.end(*ORCHESTRATORS)
    (order,) = stack.backlog(1, [product])
    stack.sql("UPDATE order_ledger SET due_at = now() + interval '1 hour'")
    with full_queue(stack):
        code, text, _ = run(stack.server.url, "attention", "retry", order)
        assert code == 0, text
        stack.start(*ORCHESTRATORS)
        stack.settle()
