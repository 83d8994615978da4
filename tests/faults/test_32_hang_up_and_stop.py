"""Row 32: a client hangs up during a request; SIGTERM during a saga; a rolling restart.

Required: finished or handed back; exit 0 within 25 s.
"""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import requests

from tests.credentials import header_line
from tests.faults.shared_stack import SharedStack
from tests.system.conftest import buying
from tests.waiting import eventually
from tests.web_worker import needs_our_worker

ORDERS = 30


def send_and_hang_up(stack: SharedStack, key: str, body: bytes, sent: int) -> None:
    """Send the head and this many bytes of the body, and close the connection at once."""
    address = urlsplit(stack.url("web"))
    head = (
        "POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        f"{header_line('web')}Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + body[:sent])


@needs_our_worker  # gthread drops the request of every client that has left
def test_client_that_hangs_up_gets_one_order_or_none(stack: SharedStack) -> None:
    stack.restart("payments_service", MOCK_LATENCY_MS="200")  # so that the client has left when the order is accepted
    product = stack.product()
    body = json.dumps(stack.order_body(product)).encode()
    for number in range(20):
        send_and_hang_up(stack, f"whole {number}", body, len(body))
        send_and_hang_up(stack, f"half {number}", body, len(body) // 2)
    # Requests that were still queued when their client left are not begun. The others are, each once.
    eventually(lambda: stack.count("order_ledger WHERE status <> 'AWAITING_AUTHORIZATION'") > 0)
    responses = [eventually(lambda key=f"whole {n}": _accepted(stack, key, product)) for n in range(20)]
    assert any(response and "Idempotency-Replayed" in response.headers for response in responses)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 20}


def _accepted(stack: SharedStack, key: str, product: str) -> requests.Response | None:
    response = stack.post_order(key, product)
    assert response.status_code in (202, 409), response.text
    return response if response.status_code == 202 else None


def test_sigterm_hands_back_sagas_in_flight(stack: SharedStack) -> None:
    stack.end("orchestrator.1", "orchestrator.2")
    stack.restart("payments_service", MOCK_LATENCY_MS="200")
    stack.start("orchestrator.1", LEASE_S="600")
    of_orchestrators = "order_ledger WHERE claimed_by NOT LIKE 'edge:%'"
    with buying(stack, stack.product(), ORDERS):
        eventually(lambda: stack.count(f"{of_orchestrators} AND status = 'INVENTORY_RESERVED'"))
        assert stack.stop("orchestrator.1") == 0
        assert stack.count(of_orchestrators) == 0, "with a lease of ten minutes, only a hand-back frees them"
        stack.start("orchestrator.2")
    stack.settle()
    assert stack.by_status() == {"COMPLETED": ORDERS}


def test_rolling_restart_under_load_loses_nothing(stack: SharedStack) -> None:
    stack.restart("orchestrator.1", "orchestrator.2", RETRY_BASE_S="0.5")
    with buying(stack, stack.product(), 2 * ORDERS) as placed:
        for name in list(stack.processes):
            assert stack.stop(name) == 0
            stack.start(name)
    assert len(set(placed.values())) == 2 * ORDERS
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2 * ORDERS}
