"""Row 49: the database is down for a while. Required: processes wait for it and reconnect; POST answers 503."""

from __future__ import annotations

import os
import signal

import requests

from tests.faults.shared_stack import ORCHESTRATORS, WEB_PROCESSES, SharedStack
from tests.waiting import eventually


def test_processes_wait_for_the_database_and_recover(stack: SharedStack) -> None:
    stack.restart("payments_service", MOCK_LATENCY_MS="300")  # so that orders are in flight when it stops
    product = stack.product()
    for number in range(6):
        assert stack.post_order(f"before {number}", product).status_code == 202
    process_ids = [process.pid for process in stack.processes.values()]
    told = {name: complaints(stack, name) for name in ORCHESTRATORS}
    os.kill(stack.server.pid, signal.SIGINT)  # fast shutdown: it does not wait for its clients
    stack.server.stop()
    eventually(lambda: all(complaints(stack, name) >= told[name] + 3 for name in ORCHESTRATORS))
    for name in WEB_PROCESSES:
        assert requests.get(f"{stack.url(name)}/live", timeout=10).status_code == 200
        # An answer of a moment ago counts for some seconds.
        eventually(lambda name=name: health(stack, name) == (503, "disconnected"))
    for key in ("before 0", "meanwhile"):
        response = stack.post_order(key, product)
        assert (response.status_code, response.json()["error"]) == (503, "database_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
    stack.server.start()
    # The first request may still meet a connection of before. It is safe to repeat.
    eventually(lambda: stack.post_order("meanwhile", product).status_code == 202)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 7}
    assert [process.pid for process in stack.processes.values() if process.poll() is None] == process_ids


def health(stack: SharedStack, name: str) -> tuple[int, str]:
    response = requests.get(f"{stack.url(name)}/health", timeout=10)
    return response.status_code, response.json()["database"]


def complaints(stack: SharedStack, name: str) -> int:
    return stack.log(name).count("cannot claim orders")
