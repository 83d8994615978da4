"""The client's refunds, against faked answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses

from holdfast_client import (
    Failure,
    HoldfastClient,
    NotFound,
    OrderNotRefundable,
    Refund,
    RefundExceedsRemaining,
    RefundItem,
    Unavailable,
)

EDGE = "http://edge.test"
ORDER = "0d8f7c1e-0000-4000-8000-000000000001"
PRODUCT = "0d8f7c1e-0000-4000-8000-000000000002"
ID = "0d8f7c1e-0000-4000-8000-000000000003"
REFUND = {
    "refund_id": ID,
    "order_ledger_id": ORDER,
    "status": "PENDING",
    "amount_cents": 1250,
    "items": [{"product_id": PRODUCT, "quantity": 1}],
    "restock": True,
    "reason": "duplicate",
    "note": None,
    "failure": None,
    "created_at": "2026-11-22T10:00:00.000000Z",
    "updated_at": "2026-11-22T10:00:00.000000Z",
}
URL = f"{EDGE}/orders/{ORDER}/refunds"


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def client() -> Iterator[HoldfastClient]:
    with HoldfastClient(EDGE, api_key="k", retry_for=1, sleep=lambda _: None, trust_env=False) as made:
        yield made


def refusal(code: str, **details: Any) -> dict[str, Any]:
    return {"error": code, "message": code, "details": details, "request_id": "r"}


def test_refund_is_requested_and_parsed(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.post(URL, status=202, json=REFUND)
    items = [{"product_id": PRODUCT, "quantity": 1}]
    refund = client.refund(ORDER, reason="duplicate", items=items, restock=True, idempotency_key="key")
    assert isinstance(refund, Refund)
    assert (refund.refund_id, refund.status, refund.is_terminal) == (ID, "PENDING", False)
    assert refund.items == (RefundItem(PRODUCT, 1),)
    request = fake.calls[0].request
    assert request.headers["Idempotency-Key"] == "key"
    assert json.loads(request.body) == {"reason": "duplicate", "items": items, "restock": True}


def test_only_what_is_given_is_sent(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.post(URL, status=202, json=REFUND)
    client.refund(ORDER, reason="other")
    assert json.loads(fake.calls[0].request.body) == {"reason": "other"}
    assert fake.calls[0].request.headers["Idempotency-Key"]


def test_dry_run_has_no_id(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    unknown = dict.fromkeys(("refund_id", "status", "created_at", "updated_at"))
    fake.post(f"{URL}?dry_run=true", json={**REFUND, **unknown})
    refund = client.refund(ORDER, reason="other", dry_run=True)
    assert (refund.refund_id, refund.status, refund.created_at, refund.is_terminal) == (None, None, None, False)


def test_repeats_have_the_same_key(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.post(URL, body=requests.ConnectionError())
    fake.post(URL, status=202, json=REFUND)
    client.refund(ORDER, reason="other", amount_cents=5)
    first, second = (call.request.headers["Idempotency-Key"] for call in fake.calls)
    assert first == second


def test_unanswered_refund_can_be_repeated(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.post(URL, body=requests.ConnectionError())
    with pytest.raises(Unavailable, match="unknown whether this was done") as caught:
        client.refund(ORDER, reason="other", idempotency_key="key")
    assert caught.value.idempotency_key == "key"


def test_refusals_have_their_classes(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.post(URL, status=409, json=refusal("refund_exceeds_remaining", remaining_cents=10))
    fake.post(URL, status=409, json=refusal("order_not_refundable", status="FAILED"))
    fake.post(URL, status=404, json=refusal("not_found"))
    with pytest.raises(RefundExceedsRemaining) as caught:
        client.refund(ORDER, reason="other")
    assert caught.value.remaining_cents == 10
    for error in (OrderNotRefundable, NotFound):
        with pytest.raises(error):
            client.refund(ORDER, reason="other")


def test_refunds_are_listed_and_read(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    failed = {**REFUND, "status": "FAILED", "failure": {"code": "refund_declined", "message": "No."}}
    fake.get(URL, json={"refunds": [REFUND, failed]})
    fake.get(f"{EDGE}/refunds/{ID}?wait=5", json=failed)
    assert [refund.status for refund in client.refunds(ORDER)] == ["PENDING", "FAILED"]
    refund = client.get_refund(ID, wait=5)
    assert refund.is_terminal
    assert refund.failure == Failure("refund_declined", "No.")
