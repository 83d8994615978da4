"""Row 6: 1,000 requests at once with one key. Required: one ledger entry, one hold; the others replay or get 409."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from urllib.parse import urlsplit

from tests.credentials import header_line
from tests.faults.shared_stack import PATIENCE_S, SharedStack

TIMES = 1000


async def send_at_once(url: str, request: bytes) -> list[bytes]:
    """Open a connection for each request, then send on all of them, then read. :returns: the raw answers"""
    address = urlsplit(url)
    connections = [await asyncio.open_connection(address.hostname, address.port) for _ in range(TIMES)]
    for _, writer in connections:
        writer.write(request)
    return await asyncio.wait_for(asyncio.gather(*(answer_on(*connection) for connection in connections)), PATIENCE_S)


async def answer_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_thousand_requests_with_one_key_give_one_order(stack: SharedStack) -> None:
    stack.restart("payments_service", MOCK_LATENCY_MS="1000")  # longer than a repeat waits for the first
    body = json.dumps(stack.order_body(stack.product())).encode()
    head = (
        "POST /orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"{header_line('web')}Idempotency-Key: the one\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answers = asyncio.run(send_at_once(stack.url("web"), head.encode() + body))
    statuses = Counter(int(answer.split()[1]) for answer in answers)
    assert set(statuses) == {202, 409}
    in_progress = [answer for answer in answers if answer.startswith(b"HTTP/1.1 409")]
    assert all(b"request_in_progress" in answer and b"Retry-After: " in answer for answer in in_progress)
    accepted = [answer.partition(b"\r\n\r\n") for answer in answers if answer.startswith(b"HTTP/1.1 202")]
    assert len({content for _, _, content in accepted}) == 1
    assert sum(b"Idempotency-Replayed" not in headers for headers, _, _ in accepted) == 1
    assert [stack.count(table) for table in ("order_ledger", "payment_authorizations", "outbox")] == [1, 1, 1]
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1}
