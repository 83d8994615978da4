"""Events, as the client asks for them and reads them; and against the real server."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses

from holdfast_client import Event, Failure, HoldfastClient, ValidationError
from tests.credentials import EDGE_KEY
from tests.faults.shared_stack import SharedStack
from tests.holdfast_client.test_holdfast_client import EDGE, ID, PRODUCT

DATA = {
    "order_ledger_id": ID,
    "order_id": None,
    "client_request_id": "key-1",
    "reference": "2026-1742",
    "metadata": {"channel": "web"},
    "status": "FAILED",
    "sequence": 2,
    "total_amount_cents": 500,
    "refunded_cents": 0,
    "currency": "USD",
    "failure": {"code": "insufficient_stock", "message": "Sold out."},
}


def event(number: int, **data: object) -> dict[str, object]:
    return {
        "id": f"evt_{number:024}",
        "type": "order.failed",
        "timestamp": "2026-11-22T10:00:00.000001Z",
        "data": DATA | data,
    }


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def queries(fake: responses.RequestsMock) -> list[dict[str, str]]:
    return [dict(parse_qsl(urlsplit(call.request.url or "").query)) for call in fake.calls]


def answer(fake: responses.RequestsMock, *numbers: int, next_after: int | None = None) -> None:
    last = numbers[-1] if numbers else next_after
    after = None if last is None else f"evt_{last:024}"
    fake.get(f"{EDGE}/events", json={"events": [event(number) for number in numbers], "next_after": after})


def test_event_is_read_whole(fake: responses.RequestsMock) -> None:
    fake.get(f"{EDGE}/events", json={"events": [event(1), event(2, refund_id=PRODUCT)], "next_after": "evt_2"})
    fake.get(f"{EDGE}/events", json={"events": [], "next_after": "evt_2"})
    first, second = HoldfastClient(EDGE).events()
    assert first == Event(
        id=f"evt_{1:024}",
        type="order.failed",
        timestamp=datetime(2026, 11, 22, 10, 0, 0, 1, tzinfo=UTC),
        failure=Failure("insufficient_stock", "Sold out."),
        refund_id=None,
        raw={},
        **{name: value for name, value in DATA.items() if name != "failure"},  # type: ignore[arg-type]
    )
    assert second.refund_id == PRODUCT
    assert second.raw == event(2, refund_id=PRODUCT)


def test_pages_are_read_when_they_are_needed_until_one_is_empty(fake: responses.RequestsMock) -> None:
    answer(fake, 1, 2)
    answer(fake, 3)
    answer(fake, next_after=3)
    events = HoldfastClient(EDGE).events(type=["order.failed", "order.completed"], page_size=2)
    assert [next(events).id for _ in range(2)] == [f"evt_{1:024}", f"evt_{2:024}"]
    assert len(fake.calls) == 1
    assert [each.id for each in events] == [f"evt_{3:024}"]
    filters = {"type": "order.failed,order.completed", "limit": "2"}
    assert queries(fake) == [filters, filters | {"after": f"evt_{2:024}"}, filters | {"after": f"evt_{3:024}"}]


def test_reader_that_polls_looks_again_after_an_empty_page(fake: responses.RequestsMock) -> None:
    pauses: list[float] = []
    answer(fake)
    answer(fake, 1)
    answer(fake, next_after=1)
    answer(fake, 2)
    events = HoldfastClient(EDGE, sleep=pauses.append).events(poll_every=3)
    assert [each.id for each in itertools.islice(events, 2)] == [f"evt_{1:024}", f"evt_{2:024}"]
    assert pauses == [3, 3]


def test_events_of_an_order_on_the_real_server(stack: SharedStack) -> None:
    with HoldfastClient(stack.url("web"), EDGE_KEY) as client:
        placed = client.place_order(
            user_id=uuid.uuid4(),
            email="a@b.example",
            items=[{"product_id": stack.product(price_cents=500), "quantity": 2}],
            payment_token="tok_visa",
            reference="2026-1742",
        )
        order = client.wait_until_terminal(placed.order_ledger_id)
        first, second = client.events(order_ledger_id=order.order_ledger_id, page_size=1)
        assert (first.type, second.type) == ("order.authorized", "order.completed")
        assert (first.sequence, second.sequence) == (1, 2)
        assert (second.reference, second.order_id, second.status) == ("2026-1742", order.order_id, "COMPLETED")
        assert list(client.events(after=first.id, type="order.completed", order_ledger_id=order.order_ledger_id)) == [
            second
        ]
        with pytest.raises(ValidationError):
            list(client.events(after="evt_" + "0" * 24))
    stack.settle()
