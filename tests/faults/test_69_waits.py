"""Fault 69: many clients wait for their orders and hang up. Required: waits occupy no thread and end at once."""

from __future__ import annotations

import select
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from common.server.parking import MAX_PARKED
from tests.credentials import header_line
from tests.faults.raw_http import read_answer
from tests.faults.test_61_health import descriptors
from tests.system.stack import WEB_PROCESSES, Stack
from tests.waiting import eventually
from tests.web_worker import needs_our_worker

WAITERS = 30


@pytest.fixture
def stack(url: str, tmp_path: Path) -> Iterator[Stack]:
    """The smallest machine: one thread. No orchestrator runs at first, so no order ends."""
    with Stack(url, tmp_path, WEB_CONCURRENCY="1", WEB_THREADS="1") as stack:
        stack.start(*WEB_PROCESSES)
        yield stack


def place(stack: Stack) -> str:
    body = {
        "user_id": str(uuid.uuid4()),
        "email": "a@b.example",
        "items": [{"product_id": stack.product(), "quantity": 1}],
        "payment": {"method": "card", "token": "tok_visa"},
    }
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    response = requests.post(f"{stack.url('web')}/orders", json=body, headers=headers, timeout=15)
    assert response.status_code == 202, response.text
    return str(response.json()["order_ledger_id"])


def wait_for(stack: Stack, order: str) -> socket.socket:
    client = socket.create_connection(stack.address("web"), timeout=60)
    client.sendall(f"GET /orders/{order}?wait=30 HTTP/1.1\r\nHost: x\r\n{header_line('web')}\r\n".encode())
    return client


def has_room(stack: Stack, order: str) -> bool:
    """Whether another client may wait."""
    response = requests.get(f"{stack.url('web')}/orders/{order}?wait=0.01", timeout=15)
    return "Retry-After" not in response.headers


@needs_our_worker
def test_waiting_clients_do_not_block_orders_and_all_learn_the_end(stack: Stack, settle: Callable[..., None]) -> None:
    order = place(stack)
    with ExitStack() as sockets:
        clients = [sockets.enter_context(wait_for(stack, order)) for _ in range(WAITERS)]
        another = place(stack)
        assert requests.get(f"{stack.url('web')}/orders/{another}", timeout=15).json()["status"] == "AUTHORIZED"
        stack.start("orchestrator")
        assert {read_answer(client).json["status"] for client in clients} == {"COMPLETED"}
    settle()


def test_wait_works_with_one_thread(stack: Stack, settle: Callable[..., None]) -> None:
    with wait_for(stack, place(stack)) as client:
        place(stack)
        stack.start("orchestrator")
        assert read_answer(client).json["status"] == "COMPLETED", "the first response has it"
    settle()


def test_waits_end_with_their_clients(stack: Stack, settle: Callable[..., None]) -> None:
    order = place(stack)
    assert has_room(stack, order)  # opens every connection that stays open
    before = descriptors(stack, "web")
    clients = [wait_for(stack, order) for _ in range(WAITERS)]
    eventually(lambda: descriptors(stack, "web") > before + WAITERS // 2)
    place(stack)  # by now the first of them wait
    for client in clients:
        client.close()
    eventually(lambda: descriptors(stack, "web") < before + WAITERS // 4)  # a few may stay: to other services
    eventually(lambda: has_room(stack, order))
    with wait_for(stack, order) as client:
        stack.start("orchestrator")
        assert read_answer(client).json["status"] == "COMPLETED"
    settle()


def test_client_without_room_to_wait_is_told_when_to_ask_again(stack: Stack) -> None:
    """Otherwise it would ask again at once, in a loop."""
    order = place(stack)
    with ExitStack() as sockets:
        clients = [sockets.enter_context(wait_for(stack, order)) for _ in range(MAX_PARKED + 20)]
        ready, _, _ = select.select(clients, [], [], 60)
        answer = read_answer(ready[0])
        assert (answer.json["status"], answer.headers["retry-after"]) == ("AUTHORIZED", "1")
        assert len(ready) < len(clients)


def test_stop_ends_waits_with_a_response(stack: Stack) -> None:
    with wait_for(stack, place(stack)) as client:
        assert stack.stop("web") == 0
        assert read_answer(client).json["status"] == "AUTHORIZED"
