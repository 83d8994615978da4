"""SIGKILL, SIGTERM and a database that goes away, in the middle of the work."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import requests

from common import migrate
from local.postgres import EmbeddedPostgres
from tests.books import violations
from tests.system.conftest import place
from tests.system.stack import WEB_PROCESSES, Stack, running
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
    """Whether all the orders have ended before the test could do its harm."""
    return count(url, "due_at IS NULL") == orders


@contextmanager
def buying(stack: Stack, product: str, orders: int) -> Iterator[dict[str, str]]:
    """Orders are placed while the test goes on; all have been answered at the end."""
    placed: dict[str, str] = {}
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(place, stack, product, orders)
        yield placed
        placed.update(future.result(120))


def test_an_orchestrator_killed_in_mid_saga_loses_nothing(start: Start, settle: Settle, url: str) -> None:
    """Three times, with a second orchestrator at work; slow payments make sure that sagas are in hand."""
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
def test_a_worker_killed_in_mid_request_loses_nothing(start: Start, settle: Settle, url: str, name: str) -> None:
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


def test_sigterm_hands_back_what_is_in_hand_and_exits_0(start: Start, settle: Settle, url: str) -> None:
    stack = start(MOCK_LATENCY_MS="200", LEASE_S="600")
    product = stack.product()
    with buying(stack, product, 12):
        eventually(lambda: count(url, "claimed_by LIKE '%:%:%-%' AND status = 'INVENTORY_RESERVED'"))
        assert stack.stop("orchestrator.1") == 0
        assert count(url, "claimed_by LIKE '%:%:%-%'") == 0, "with ten minutes' lease, only a hand-back can free them"
        stack.start("orchestrator.1")
    settle()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_process_exits_0(start: Start, number: int) -> None:
    stack = start()
    processes = list(stack.processes.values())
    stack.processes.clear()
    for process in processes:
        process.send_signal(number)
    assert [process.wait(25) for process in processes] == [0] * len(processes)


def test_a_rolling_restart_under_load_loses_nothing(start: Start, settle: Settle, url: str) -> None:
    stack = start(orchestrators=2, RETRY_BASE_S="0.5")
    product = stack.product()
    with buying(stack, product, 60) as placed:
        for name in list(stack.processes):
            assert stack.stop(name) == 0
            stack.start(name)
    assert len(set(placed.values())) == 60
    settle()
    assert count(url, "status = 'COMPLETED'") == 60


def test_a_stopped_orchestrator_that_wakes_after_a_takeover_changes_nothing(
    start: Start, settle: Settle, url: str
) -> None:
    """A zombie: SIGSTOP until another has taken its orders over, then SIGCONT."""
    stack = start(orchestrators=1, MOCK_LATENCY_MS="100")
    product = stack.product()
    with buying(stack, product, 12):
        zombie = stack.processes["orchestrator.1"]
        eventually(lambda: count(url, f"claimed_by LIKE '%:{zombie.pid}:%'"))
        zombie.send_signal(signal.SIGSTOP)
        stuck = count(url, f"claimed_by LIKE '%:{zombie.pid}:%'")
        assert stuck
        stack.start("orchestrator.2")
        eventually(lambda: count(url, f"claimed_by LIKE '%:{zombie.pid}:%'") == 0)
        zombie.send_signal(signal.SIGCONT)
    settle()
    assert count(url, "status = 'COMPLETED'") == 12


def test_a_request_that_nobody_came_back_for_is_closed_and_its_hold_voided(
    start: Start, settle: Settle, url: str
) -> None:
    """The edge dies between the payment's yes and T2; the client never asks again."""
    stack = start(MOCK_LATENCY_MS="400", ABANDONED_AFTER_S="2")
    product = stack.product()

    def give_up() -> None:
        body = {
            "user_id": str(uuid.uuid4()),
            "email": "a@b.example",
            "items": [{"product_id": product, "quantity": 1}],
            "payment": {"method": "card", "token": "tok_visa"},
        }
        with pytest.raises(requests.RequestException):
            requests.post(f"{stack.url('web')}/orders", json=body, headers={"Idempotency-Key": "k"}, timeout=30)

    client = threading.Thread(target=give_up, daemon=True)
    client.start()
    eventually(lambda: count(url, "status = 'AWAITING_AUTHORIZATION'"))
    stack.kill("web")
    client.join()
    settle()
    assert count(url, "status = 'AUTHORIZATION_FAILED' AND failure_code = 'abandoned'") == 1


def test_an_undo_that_fails_for_long_is_shown_and_done_when_the_participant_is_back(
    start: Start, settle: Settle, url: str
) -> None:
    stack = start()
    product = stack.product(stock=1)
    stack.kill("payments_service")
    stack.start("payments_service", MOCK_FAILURE_RATE="0")
    with stack.client() as client:
        items = [{"product_id": product, "quantity": 2}]
        stack.stop("orchestrator.1")
        placed = client.place_order(user_id=uuid.uuid4(), email="a@b.example", items=items, payment_token="tok_visa")
        stack.kill("payments_service")
        stack.start("orchestrator.1")
        order = eventually(lambda: (now := client.get_order(placed.order_ledger_id)).needs_attention_at and now)
        assert order.status == "COMPENSATING"
        assert "needs attention" in stack.log("orchestrator.1")
        stack.start("payments_service")
        assert client.wait_until_terminal(placed.order_ledger_id, timeout=60).status == "FAILED"
        assert client.get_order(placed.order_ledger_id).needs_attention_at is None
    settle()


def test_a_database_that_is_restarted_hard_strands_nothing(tmp_path: Path) -> None:
    """Its own server, with fsync: what was acknowledged before a crash is there after it."""
    with EmbeddedPostgres(tmp_path / "data") as server:
        migrate.upgrade(server.url)
        with running(server.url, tmp_path, orchestrators=2) as stack:
            product = stack.product()
            with buying(stack, product, 60) as placed:
                for _ in range(3):
                    before = count(server.url, "true")
                    eventually(lambda before=before: count(server.url, "true") > min(before + 5, 55), 60)
                    server.restart("immediate")
            assert len(set(placed.values())) == 60
            eventually(lambda: count(server.url, "due_at IS NOT NULL") == 0, 60)
            assert violations(server.url) == {}
            assert all(process.poll() is None for process in stack.processes.values()), "no process has left"
