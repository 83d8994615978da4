"""Lists, and products, as the client sends and reads them; and both against the real server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses

from holdfast_client import DuplicateSku, HoldfastClient, HoldfastError, NotFound, Unavailable, ValidationError
from tests.credentials import EDGE_KEY
from tests.faults.shared_stack import SharedStack
from tests.holdfast_client.test_holdfast_client import EDGE, ID, ORDER, PRODUCT

LISTED = {name: value for name, value in ORDER.items() if name != "timeline"}
COFFEE = {"id": PRODUCT, "name": "Coffee", "sku": "C", "price_cents": 5, "currency": "USD", "is_active": True}
COFFEE |= {"stock_quantity": 7, "created_at": "2026-11-22T10:00:00Z"}
CHANGED = {"product_id": PRODUCT, "sku": "C", "previous_quantity": 7, "added_quantity": 5, "new_quantity": 12}
CHANGED |= {"adjustment_id": ID, "created_at": "2026-11-22T10:00:00Z"}


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def client() -> HoldfastClient:
    return HoldfastClient(EDGE, "hf_key", sleep=lambda _: None)


def queries(fake: responses.RequestsMock) -> list[dict[str, str]]:
    return [dict(parse_qsl(urlsplit(call.request.url or "").query)) for call in fake.calls]


def test_pages_are_read_one_by_one(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [LISTED, LISTED], "next_cursor": "abc"})
    fake.get(f"{EDGE}/orders", json={"orders": [LISTED], "next_cursor": None})
    orders = client.list_orders(page_size=2)
    assert [next(orders).order_ledger_id for _ in range(2)] == [ID, ID]
    assert len(fake.calls) == 1
    (last,) = orders
    assert (last.status, last.timeline) == ("FAILED", ())
    assert queries(fake) == [{"limit": "2"}, {"limit": "2", "cursor": "abc"}]


def test_filters_are_sent_as_they_are_given(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [], "next_cursor": None})
    at = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=1, minutes=30)))
    user = uuid.UUID(ID)
    assert list(client.list_orders(status=["FAILED", "COMPLETED"], user_id=user, email="a+b@c.example")) == []
    assert list(client.list_orders(status="FAILED", created_from=at, created_before=at, reference="r & s")) == []
    assert queries(fake) == [
        {"status": "FAILED,COMPLETED", "user_id": ID, "email": "a+b@c.example", "limit": "100"},
        {"status": "FAILED", "created_from": "2026-01-01T00:00:00Z", "created_before": "2026-01-01T00:00:00Z"}
        | {"reference": "r & s", "limit": "100"},
    ]


def test_time_without_a_zone_is_refused_at_once(client: HoldfastClient) -> None:
    with pytest.raises(ValueError, match="aware"):
        client.list_orders(created_from=datetime(2026, 1, 1))  # noqa: DTZ001


def test_damaged_page_is_read_again(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [{**LISTED, "status": None}], "next_cursor": None})
    fake.get(f"{EDGE}/orders", json={"orders": [LISTED], "next_cursor": None})
    assert len(list(client.list_orders())) == 1


def test_product_calls_have_the_documented_form(client: HoldfastClient, fake: responses.RequestsMock) -> None:
    fake.post(f"{EDGE}/products", status=201, json=COFFEE)
    fake.patch(f"{EDGE}/products/{PRODUCT}", json=COFFEE)
    fake.post(f"{EDGE}/products/{PRODUCT}/stock", json=CHANGED)
    made = client.create_product(name="Coffee", sku="C", price_cents=5)
    assert (made.id, made.is_active, made.created_at) == (PRODUCT, True, datetime(2026, 11, 22, 10, tzinfo=UTC))
    client.create_product(name="Coffee", sku="C", price_cents=5, currency="EUR", initial_stock=0)
    client.change_product(PRODUCT, is_active=False)
    changed = client.change_stock(PRODUCT, 5, "correction", notes="found", idempotency_key="k")
    assert (changed.previous_quantity, changed.new_quantity) == (7, 12)
    assert [json.loads(call.request.body or "") for call in fake.calls] == [
        {"name": "Coffee", "sku": "C", "price_cents": 5},
        {"name": "Coffee", "sku": "C", "price_cents": 5, "currency": "EUR", "initial_stock": 0},
        {"is_active": False},
        {"quantity": 5, "reason": "correction", "notes": "found"},
    ]
    assert [call.request.headers.get("Idempotency-Key") for call in fake.calls] == [None, None, None, "k"]


def test_stock_change_is_retried_with_its_key(fake: responses.RequestsMock) -> None:
    fake.post(f"{EDGE}/products/{PRODUCT}/stock", status=503, json={"error": "service_unavailable"})
    with pytest.raises(Unavailable) as caught:
        HoldfastClient(EDGE, retry_for=0).change_stock(PRODUCT, 5, "correction")
    assert caught.value.idempotency_key == fake.calls[0].request.headers["Idempotency-Key"]


def test_shop_manages_products_and_finds_its_orders(stack: SharedStack) -> None:
    sku = uuid.uuid4().hex
    with HoldfastClient(stack.url("web"), EDGE_KEY) as client:
        made = client.create_product(name="Käse", sku=sku, price_cents=700, initial_stock=3)
        assert client.get_product(made.id) == made
        with pytest.raises(DuplicateSku) as twice:
            client.create_product(name="Käse", sku=sku, price_cents=1)
        assert twice.value.existing_product_id == made.id
        assert client.change_stock(made.id, 2, "warehouse_receiving").new_quantity == 5
        assert client.change_product(made.id, price_cents=800).price_cents == 800
        assert made.id in {each.id for each in client.list_products(page_size=2)}
        line = {"product_id": made.id, "quantity": 1}
        placed = [
            client.place_order(
                user_id=ID, email="ada@shop.example", items=[line], payment_token="tok_visa",
                reference=sku, metadata={"try": str(number)},
            ) for number in range(3)
        ]  # fmt: skip
        for each in placed:
            assert client.wait_until_terminal(each.order_ledger_id).is_completed
        orders = list(client.list_orders(reference=sku, status="COMPLETED", page_size=2))
        assert [order.order_ledger_id for order in orders] == [each.order_ledger_id for each in reversed(placed)]
        assert [order.metadata for order in orders] == [{"try": "2"}, {"try": "1"}, {"try": "0"}]
        assert {order.total_amount_cents for order in orders} == {800}
        with pytest.raises(NotFound):
            client.get_product(ID)
        with pytest.raises(ValidationError):
            list(client.list_orders(status="NONE"))
        with pytest.raises(HoldfastError, match="insufficient_stock"):
            client.change_stock(made.id, -5, "correction")
    stack.settle()
