"""The client against faked answers: what it tries again, under which key, and what it raises."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import responses

from holdfast_client import (
    Failure,
    HoldfastClient,
    HoldfastError,
    IdempotencyKeyReused,
    NotFound,
    Order,
    PaymentDeclined,
    PlacedOrder,
    StillInProgress,
    Unauthorized,
    Unavailable,
    UnknownProduct,
    ValidationError,
)

EDGE = "http://edge.test"
ID = "0d8f7c1e-0000-4000-8000-000000000001"
PRODUCT = "0d8f7c1e-0000-4000-8000-000000000002"
USER = "0d8f7c1e-0000-4000-8000-000000000003"
PLACED = {
    "order_ledger_id": ID,
    "status": "AUTHORIZED",
    "total_amount_cents": 2500,
    "currency": "USD",
    "message": "on its way",
}
ORDER = {
    "order_ledger_id": ID,
    "client_request_id": "k",
    "status": "FAILED",
    "user_id": USER,
    "email": "a@b.example",
    "total_amount_cents": 2500,
    "currency": "USD",
    "payment_authorization_id": "auth_abc",
    "order_id": None,
    "retry_count": 0,
    "next_retry_at": None,
    "needs_attention_at": "2026-11-22T10:00:02Z",
    "failure": {"code": "insufficient_stock", "message": "Too few."},
    "items": [{"product_id": PRODUCT, "quantity": 2, "unit_price_cents": 1250}],
    "timeline": [{"status": "AUTHORIZED", "at": "2026-11-22T10:00:00.250000Z", "detail": None}],
    "created_at": "2026-11-22T10:00:00Z",
    "updated_at": "2026-11-22T10:00:03Z",
}
Answers = Callable[..., None]


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def to_post(fake: responses.RequestsMock) -> Answers:
    """`to_post((503, {...}), requests.Timeout())`: what the next POSTs are answered, in turn; then a 202."""

    def answer(
        *answers: Exception | tuple[int, dict[str, Any] | str] | tuple[int, dict[str, Any], dict[str, str]],
    ) -> None:
        for each in answers:
            if isinstance(each, Exception):
                fake.post(f"{EDGE}/orders", body=each)
            else:
                status, body, *headers = each
                text = body if isinstance(body, str) else json.dumps(body)
                fake.post(f"{EDGE}/orders", status=status, body=text, headers=dict(*headers))

    return answer


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def client(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldfastClient]:
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds)  # the longest pause it may choose
    with HoldfastClient(f"{EDGE}/", sleep=slept.append, max_tries=4) as made:
        yield made


def place(client: HoldfastClient, **options: Any) -> PlacedOrder:
    order: dict[str, Any] = {"user_id": USER, "email": "a@b.example", "payment_token": "tok_visa"}
    return client.place_order(**order | {"items": [{"product_id": PRODUCT, "quantity": 2}]} | options)


def error(code: str, **details: Any) -> dict[str, Any]:
    return {
        "error": code,
        "message": f"It is {code}.",
        "request_id": "r-1",
        **({"details": details} if details else {}),
    }


def keys(fake: responses.RequestsMock) -> list[str | None]:
    return [call.request.headers.get("Idempotency-Key") for call in fake.calls]


class TestPlacing:
    def test_says_what_was_placed(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((202, PLACED))
        assert place(client) == PlacedOrder(ID, "AUTHORIZED", 2500, "USD", replayed=False)

    def test_sends_what_the_contract_asks_for(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((202, PLACED))
        place(client, idempotency_key="mine", user_id=uuid.UUID(USER))
        request = fake.calls[0].request
        assert request.headers["Idempotency-Key"] == "mine"
        assert json.loads(request.body or "") == {
            "user_id": USER,
            "email": "a@b.example",
            "items": [{"product_id": PRODUCT, "quantity": 2}],
            "payment": {"method": "card", "token": "tok_visa"},
            "currency": "USD",
        }

    def test_a_whole_payment_may_be_given_instead_of_a_token(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((202, PLACED))
        place(client, payment_token=None, payment={"method": "card", "token": "t"})
        assert json.loads(fake.calls[0].request.body or "")["payment"] == {"method": "card", "token": "t"}

    @pytest.mark.parametrize("payment", [{"payment_token": None}, {"payment": {"method": "card", "token": "t"}}])
    def test_one_way_to_pay_is_needed(self, client: HoldfastClient, payment: dict[str, Any]) -> None:
        with pytest.raises(TypeError):
            place(client, **payment)

    def test_a_replayed_answer_is_told_from_a_new_one(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((202, PLACED, {"Idempotency-Replayed": "true"}))
        assert place(client).replayed

    def test_each_call_has_a_key_of_its_own(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((202, PLACED))
        place(client)
        place(client)
        first, second = keys(fake)
        assert uuid.UUID(first) != uuid.UUID(second)

    def test_the_timeouts_are_passed_on(self, fake: responses.RequestsMock, to_post: Answers) -> None:
        to_post((202, PLACED))
        with HoldfastClient(EDGE, timeout=(0.5, 3)) as client:
            place(client)
        assert fake.calls[0].request.req_kwargs["timeout"] == (0.5, 3)  # type: ignore[attr-defined]

    def test_the_api_key_is_not_replaced_by_one_from_netrc(
        self, fake: responses.RequestsMock, to_post: Answers, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "netrc").write_text("machine edge.test login a password b\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        to_post((202, PLACED))
        with HoldfastClient(EDGE, "secret") as client:
            place(client)
        assert fake.calls[0].request.headers["Authorization"] == "Bearer secret"


class TestTryingAgain:
    @pytest.mark.parametrize(
        "nothing",
        [
            requests.ConnectionError("reset"),
            requests.ReadTimeout("slow"),
            requests.exceptions.ChunkedEncodingError("cut off"),
            (408, "<html>"),
            (409, error("request_in_progress")),
            (429, error("rate_limited")),
            (500, error("internal_error")),
            (502, "<html>"),
            (503, error("gateway_error")),
            (504, ""),
            pytest.param((202, '{"order_ledger'), id="202 cut off"),
            pytest.param((202, "[]"), id="202 of another form"),
            pytest.param((202, {**PLACED, "total_amount_cents": "2500"}), id="202 with a wrong type"),
            pytest.param((200, {"status": "AUTHORIZED"}), id="200 without an id"),
        ],
    )
    def test_what_says_nothing_is_sent_again_under_the_same_key(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers, nothing: Any
    ) -> None:
        to_post(nothing, nothing, (202, PLACED))
        assert place(client).order_ledger_id == ID
        first, *others = (call.request for call in fake.calls)
        assert len(others) == 2
        for name in ("Idempotency-Key", "X-Request-ID"):
            assert {request.headers[name] for request in others} == {first.headers[name]}
        assert {request.body for request in others} == {first.body}

    def test_the_pauses_grow(self, client: HoldfastClient, to_post: Answers, slept: list[float]) -> None:
        to_post(*[requests.ConnectionError()] * 3, (202, PLACED))
        place(client)
        assert slept == [0.5, 1, 2]

    @pytest.mark.parametrize(("asked", "seconds"), [("3", 3), ("0", 0), ("86400", 30), ("soon", 0), ("-5", 0)])
    def test_retry_after_comes_before_the_pause_and_is_capped(
        self, client: HoldfastClient, to_post: Answers, slept: list[float], asked: str, seconds: float
    ) -> None:
        to_post((503, error("gateway_error"), {"Retry-After": asked}), (202, PLACED))
        place(client)
        assert slept == [seconds + 0.5]

    def test_retry_after_may_be_a_date(self, client: HoldfastClient, to_post: Answers, slept: list[float]) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
        to_post((503, error("gateway_error"), {"Retry-After": date}), (202, PLACED))
        place(client)
        assert 15 < slept[0] <= 20.5

    @pytest.mark.parametrize(
        "refusal",
        [
            (400, "validation_error", ValidationError),
            (400, "missing_idempotency_key", ValidationError),
            (401, "unauthorized", Unauthorized),
            (402, "payment_declined", PaymentDeclined),
            (403, "forbidden", Unauthorized),
            (404, "not_found", NotFound),
            (409, "invalid_status_transition", HoldfastError),
            (422, "idempotency_key_reused", IdempotencyKeyReused),
            (422, "unknown_product", UnknownProduct),
        ],
        ids=lambda refusal: refusal[1],
    )
    def test_a_refusal_is_raised_at_once(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers, refusal: Any
    ) -> None:
        status, code, kind = refusal
        to_post((status, error(code, field=["wrong"])))
        with pytest.raises(HoldfastError) as caught:
            place(client)
        refused = caught.value
        assert type(refused) is kind
        assert (refused.status, refused.code, refused.message) == (status, code, f"It is {code}.")
        assert (refused.details, refused.request_id) == ({"field": ["wrong"]}, "r-1")
        assert len(fake.calls) == 1

    @pytest.mark.parametrize("answer", [(301, ""), (404, "<html>"), (413, "[]")])
    def test_an_answer_of_something_else_is_an_error_and_no_order_not_found(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers, answer: Any
    ) -> None:
        to_post(answer)
        with pytest.raises(HoldfastError) as caught:
            place(client)
        assert type(caught.value) is HoldfastError
        assert (caught.value.status, caught.value.code) == (answer[0], "unreadable_answer")
        assert len(fake.calls) == 1

    def test_after_the_last_try_it_hands_back_the_key(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((503, error("gateway_error")))
        with pytest.raises(Unavailable) as caught:
            place(client)
        used = set(keys(fake))
        assert used == {caught.value.idempotency_key}
        assert len(fake.calls) == 4
        assert (caught.value.status, caught.value.code) == (503, "gateway_error")
        assert str(caught.value.idempotency_key) in str(caught.value)
        assert "unknown" in caught.value.message

    def test_no_answer_at_all_has_no_status_but_the_request_id_that_was_sent(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post(requests.ConnectTimeout("nobody there"))
        with pytest.raises(Unavailable, match=r"the last: ConnectTimeout\. ") as caught:
            place(client, idempotency_key="mine")
        assert (caught.value.status, caught.value.code) == (None, "no_answer")
        assert caught.value.idempotency_key == "mine"
        assert isinstance(caught.value.__cause__, HoldfastError)
        assert isinstance(caught.value.__cause__.__cause__, requests.ConnectTimeout)
        assert caught.value.request_id == fake.calls[0].request.headers["X-Request-ID"]

    def test_a_single_try(self, fake: responses.RequestsMock, to_post: Answers, slept: list[float]) -> None:
        to_post((503, error("gateway_error")))
        with HoldfastClient(EDGE, max_tries=1, sleep=slept.append) as client, pytest.raises(Unavailable):
            place(client)
        assert not slept
        with pytest.raises(ValueError, match="max_tries"):
            HoldfastClient(max_tries=0)

    def test_the_jitter_makes_pauses_shorter(self, to_post: Answers, slept: list[float]) -> None:
        to_post(*[requests.ConnectionError()] * 3, (202, PLACED))
        with HoldfastClient(EDGE, sleep=slept.append) as client:
            place(client)
        assert all(0 <= pause <= longest for pause, longest in zip(slept, (0.5, 1, 2), strict=True))


class TestErrors:
    def test_a_decline_says_why(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((402, error("payment_declined", decline_code="insufficient_funds", is_retryable=False)))
        with pytest.raises(PaymentDeclined) as caught:
            place(client)
        assert caught.value.decline_code == "insufficient_funds"

    def test_unknown_products_are_named(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((422, error("unknown_product", product_ids=[PRODUCT])))
        with pytest.raises(UnknownProduct) as caught:
            place(client)
        assert caught.value.product_ids == [PRODUCT]

    def test_its_text_has_all_that_helps(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((400, error("validation_error", email=["Not a valid email address."])))
        with pytest.raises(ValidationError) as caught:
            place(client)
        assert str(caught.value) == (
            "It is validation_error. (400, validation_error, {'email': ['Not a valid email address.']}, request id r-1)"
        )


class TestReading:
    def test_an_order(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        fake.get(f"{EDGE}/orders/{ID}", json=ORDER)
        order = client.get_order(uuid.UUID(ID))
        assert order.failure == Failure("insufficient_stock", "Too few.")
        assert order.items[0].unit_price_cents == 1250
        assert order.timeline[0].at - order.created_at == timedelta(milliseconds=250)
        assert order.needs_attention_at == datetime(2026, 11, 22, 10, 0, 2, tzinfo=UTC)
        assert order.next_retry_at is None
        assert order.is_terminal
        assert not order.is_completed

    def test_fields_of_a_newer_server_do_no_harm(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        lines = [{**ORDER["items"][0], "tax_cents": 1}]
        entries = [{**ORDER["timeline"][0], "by": "edge"}]
        newer = {**ORDER, "status": "COMPLETED", "failure": None, "items": lines, "timeline": entries, "colour": "blue"}
        fake.get(f"{EDGE}/orders/{ID}", json=newer)
        assert client.get_order(ID).is_completed

    def test_waiting_gives_the_server_its_time_beside_the_timeout(
        self, client: HoldfastClient, fake: responses.RequestsMock
    ) -> None:
        fake.get(f"{EDGE}/orders/{ID}?wait=12.5", json=ORDER)
        client.get_order(ID, wait=12.5)
        assert fake.calls[0].request.req_kwargs["timeout"] == (2, 22.5)  # type: ignore[attr-defined]
        assert keys(fake) == [None]

    def test_an_id_stays_within_its_place_in_the_path(
        self, client: HoldfastClient, fake: responses.RequestsMock
    ) -> None:
        fake.get(f"{EDGE}/orders/..%2Fhealth", status=404, json=error("not_found"))
        with pytest.raises(NotFound):
            client.get_order("../health")

    def test_a_read_is_tried_again_and_promises_nothing_about_keys(
        self, client: HoldfastClient, fake: responses.RequestsMock
    ) -> None:
        fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, "created_at": "yesterday"})
        with pytest.raises(Unavailable) as caught:
            client.get_order(ID)
        assert len(fake.calls) == 4
        assert caught.value.idempotency_key is None
        assert "placed" not in caught.value.message


class TestWaiting:
    def test_until_it_has_ended(self, client: HoldfastClient, fake: responses.RequestsMock, slept: list[float]) -> None:
        for status in ("AUTHORIZED", "COMPENSATING", "FAILED"):
            fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, "status": status})
        assert client.wait_until_terminal(ID, timeout=300).status == "FAILED"
        assert [call.request.params["wait"] for call in fake.calls] == ["30"] * 3  # type: ignore[attr-defined]
        assert slept == [0.1, 0.1]

    def test_not_for_ever(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, "status": "COMPENSATING"})
        with pytest.raises(StillInProgress, match=f"{ID} is still COMPENSATING after 0 s") as caught:
            client.wait_until_terminal(ID, timeout=0)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value.order, Order)
