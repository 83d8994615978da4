"""Row 42: a client guesses another client's id. Required: 404 to a read, the same as for an unknown order."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
import requests

from tests.bad_requests import READER
from tests.bad_values import LEDGER
from tests.faults.shared_stack import PATIENCE_S
from tests.faults.target import SECRETS, Target

OTHERS = ["bob", READER]


@pytest.fixture(scope="module")
def order(target: Target) -> str:
    """The id of an open order that Alice placed."""
    return target.real(LEDGER)


def look(target: Target, client: str, order: str, method: str = "GET", **query: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {SECRETS[client]}", "X-Request-ID": "r-1"}
    url = f"{target.stack.url('web')}/orders/{order}"
    return requests.request(method, url, params=query, headers=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("client", OTHERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_clients_order_is_404(target: Target, order: str, client: str, method: str) -> None:
    unknown = str(uuid.uuid4())
    assert look(target, "alice", order, method).status_code == 200
    guessed, missed = (look(target, client, id_, method) for id_ in (order, unknown))
    assert (guessed.status_code, missed.status_code) == (404, 404)
    assert guessed.text.replace(order, unknown) == missed.text
    assert {*guessed.headers.items()} - {("Date", guessed.headers["Date"])} == {*missed.headers.items()} - {
        ("Date", missed.headers["Date"])
    }


@pytest.mark.parametrize("client", OTHERS)
def test_waiting_for_another_clients_order_reveals_nothing(target: Target, order: str, client: str) -> None:
    started = time.monotonic()
    assert look(target, client, order, wait=30).status_code == 404
    assert time.monotonic() - started < 15, "half as long as Alice would wait"


@pytest.mark.parametrize("client", OTHERS)
def test_another_clients_key_reveals_nothing(target: Target, client: str) -> None:
    """Even with a known key and body, it counts as the client's own request, or is refused to a read-only client."""
    url, before = f"{target.stack.url('web')}/orders", target.state()
    headers = {"Authorization": f"Bearer {SECRETS[client]}", "Idempotency-Key": "second"}
    answer = requests.post(url, data=b"{", headers={**headers, "Content-Type": "application/json"}, timeout=PATIENCE_S)
    assert answer.status_code == (403 if client == READER else 400)
    assert "Idempotency-Replayed" not in answer.headers
    assert target.state() == before
