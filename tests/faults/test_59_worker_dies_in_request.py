"""Row 59. A worker of the edge dies during a request: the shop's call returns the order, which is placed once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from holdfast_client import HoldfastClient, PlacedOrder, RequestAbandoned
from tests.faults.shared_stack import PATIENCE_S, SharedStack, new_key
from tests.waiting import eventually

# The client that shops use, with a clock that runs ten times as fast: the lease of 3 s seems to last 30 s.
HASTE = 10
LEASE_S = 30
POINTS = ["edge.after_t1", "edge.after_authorize", "edge.after_t2"]


@pytest.fixture
def client(stack: SharedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldfastClient]:
    monkeypatch.setattr("holdfast_client.retries.monotonic", lambda: HASTE * time.monotonic())
    with stack.client(sleep=lambda seconds: time.sleep(seconds / HASTE)) as client:
        yield client


def place(client: HoldfastClient, product: str, key: str) -> PlacedOrder:
    return client.place_order(
        user_id="7b9d2c2e-1111-4222-8333-123456789abc",
        email="a@b.example",
        items=[{"product_id": product, "quantity": 1}],
        payment_token="tok_visa",
        idempotency_key=key,
    )


@pytest.mark.parametrize("point", POINTS)
def test_call_outlasts_the_lease_of_the_dead_worker(stack: SharedStack, client: HoldfastClient, point: str) -> None:
    stack.restart("web", CRASH_AT=point, LEASE_S=str(LEASE_S / HASTE))
    workers = eventually(lambda: len(found := stack.workers("web")) == 2 and found)
    placed = place(client, stack.product(), new_key())
    eventually(lambda: len(set(workers) - set(stack.workers("web"))) == 1)  # one was killed
    assert client.get_order(placed.order_ledger_id, wait=30).is_completed
    assert stack.by_status() == {"COMPLETED": 1}
    assert stack.count("payment_authorizations") == 1
    stack.settle()


def test_request_closed_meanwhile_is_abandoned_and_not_declined(stack: SharedStack, client: HoldfastClient) -> None:
    stack.restart("web", CRASH_AT="edge.after_authorize", LEASE_S="1", ABANDONED_AFTER_S="1")
    product, key = stack.product(), new_key()
    with pytest.raises(Exception, match="ConnectionError"), stack.client(retry_for=0) as impatient:
        place(impatient, product, key)
    eventually(lambda: stack.by_status() == {"AUTHORIZATION_FAILED": 1}, PATIENCE_S)
    for _ in range(2):
        with pytest.raises(RequestAbandoned) as caught:
            place(client, product, key)
        assert (caught.value.status, caught.value.code) == (409, "request_abandoned")
    place(client, product, new_key())
    stack.settle()
