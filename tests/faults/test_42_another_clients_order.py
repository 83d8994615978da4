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
# Keys that Alice used for an order of one piece.
ALICES = [pytest.param("second", 1, id="the same body"), pytest.param("first", 2, id="another body")]


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


@pytest.mark.parametrize(("key", "quantity"), ALICES)
def test_another_clients_key_is_like_a_fresh_one(target: Target, key: str, quantity: int) -> None:
    """It counts as the client's own request, also with exactly the same body."""
    alices = target.order(key).json()["order_ledger_id"]
    guessed, fresh = (target.order(each, "bob", quantity) for each in (key, f"fresh {key}"))
    assert (guessed.status_code, fresh.status_code) == (202, 202)
    id_, fresh_id = (answer.json()["order_ledger_id"] for answer in (guessed, fresh))
    assert guessed.text.replace(id_, fresh_id) == fresh.text
    assert guessed.headers.keys() == fresh.headers.keys()
    assert "Idempotency-Replayed" not in guessed.headers
    assert id_ != alices
    assert [look(target, client, id_).status_code for client in ("alice", "bob")] == [404, 200]
    assert target.order(key).json()["order_ledger_id"] == alices


@pytest.mark.parametrize(("key", "quantity"), ALICES)
def test_another_clients_key_reveals_nothing_to_a_reader(target: Target, key: str, quantity: int) -> None:
    before = target.state()
    guessed, fresh = (target.order(each, READER, quantity) for each in (key, f"fresh {key}"))
    assert (guessed.status_code, fresh.status_code) == (403, 403)
    bodies = [{**answer.json(), "request_id": ""} for answer in (guessed, fresh)]
    assert bodies[0] == bodies[1]
    assert guessed.headers.keys() == fresh.headers.keys()
    assert target.state() == before
