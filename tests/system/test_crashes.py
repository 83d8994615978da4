"""SIGKILL and SIGTERM under load. tests/faults has the rows of the fault catalogue."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psycopg2
import pytest

from tests.system.conftest import buying
from tests.system.stack import WEB_PROCESSES, Stack
from tests.waiting import eventually

Start = Callable[..., Stack]
Settle = Callable[..., None]


def count(url: str, condition: str) -> int:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM order_ledger WHERE {condition}")
        (n,) = cursor.fetchone()
    connection.close()
    return int(n)


def is_over(url: str, orders: int) -> bool:
    """Whether all orders ended before the test could kill anything."""
    return count(url, "due_at IS NULL") == orders


def test_orchestrator_killed_during_sagas_loses_nothing(start: Start, settle: Settle, url: str) -> None:
    """Three times, while a second orchestrator runs. Slow payments make sure that sagas are in flight."""
    stack = start(orchestrators=2, MOCK_LATENCY_MS="30")
    product = stack.product()
    with buying(stack, product, 80) as placed:
        for number in range(3):
            victim = f"orchestrator.{1 + number % 2}"
            pid = stack.processes[victim].pid
            eventually(lambda pid=pid: count(url, f"claimed_by LIKE '%:{pid}:%'") or is_over(url, 80))
            stack.kill(victim)
            stack.start(victim)
    assert len(set(placed.values())) == 80
    settle()
    assert count(url, "status = 'COMPLETED'") == 80


@pytest.mark.parametrize("name", WEB_PROCESSES)
def test_worker_killed_during_requests_loses_nothing(start: Start, settle: Settle, url: str, name: str) -> None:
    stack = start(orchestrators=2, MOCK_LATENCY_MS="20", RETRY_BASE_S="0.2")
    product = stack.product()
    with buying(stack, product, 40) as placed:
        for _ in range(3):
            before = count(url, "true")
            eventually(lambda before=before: count(url, "true") > before or count(url, "true") == 40)
            victims = stack.workers(name)
            os.kill(victims[0], signal.SIGKILL)
            eventually(lambda victims=victims: len(set(stack.workers(name)) - set(victims)) >= 1)
    assert len(set(placed.values())) == 40
    settle()
    assert count(url, "status = 'COMPLETED'") == 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_process_exits_0(start: Start, number: int) -> None:
    stack = start()
    processes = list(stack.processes.values())
    stack.processes.clear()
    for process in processes:
        process.send_signal(number)
    assert [process.wait(25) for process in processes] == [0] * len(processes)
