"""The client against faked answers: its retries, its keys and its exceptions."""

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
from responses.matchers import header_matcher, json_params_matcher

from holdfast_client import (
    Cancellation,
    CurrencyMismatch,
    Failure,
    HoldfastClient,
    HoldfastError,
    IdempotencyKeyReused,
    NotCancellable,
    NotFound,
    Order,
    PaymentDeclined,
    PlacedOrder,
    RequestAbandoned,
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
    """`to_post((503, {...}), requests.Timeout())`: the answers to the next POSTs, in turn; the last one repeats."""

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
    """A client with a fake clock that only its own pauses advance."""
    monkeypatch.setattr("holdfast_client.retries.monotonic", lambda: sum(slept))
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds)  # the longest possible pause
    with HoldfastClient(f"{EDGE}/", sleep=slept.append) as made:
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
    def test_returns_the_placed_order(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((202, PLACED))
        assert place(client) == PlacedOrder(ID, "AUTHORIZED", 2500, "USD", replayed=False)

    def test_request_has_the_documented_form(
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
        }

    def test_payment_can_replace_the_token(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((202, PLACED))
        place(client, payment_token=None, payment={"method": "card", "token": "t"})
        assert json.loads(fake.calls[0].request.body or "")["payment"] == {"method": "card", "token": "t"}

    @pytest.mark.parametrize("payment", [{"payment_token": None}, {"payment": {"method": "card", "token": "t"}}])
    def test_exactly_one_way_to_pay_is_required(self, client: HoldfastClient, payment: dict[str, Any]) -> None:
        with pytest.raises(TypeError):
            place(client, **payment)

    def test_currency_is_sent_only_when_it_is_given(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((202, PLACED))
        place(client, currency="EUR")
        place(client)
        assert [json.loads(call.request.body or "").get("currency") for call in fake.calls] == ["EUR", None]

    def test_reference_and_metadata_are_sent_when_they_are_given(
        self, client: HoldfastClient, to_post: Answers, fake: responses.RequestsMock
    ) -> None:
        to_post((202, PLACED))
        place(client, reference="2026-1742", metadata={"channel": "web"})
        place(client)
        sent = [json.loads(call.request.body or "") for call in fake.calls]
        assert (sent[0]["reference"], sent[0]["metadata"]) == ("2026-1742", {"channel": "web"})
        assert {"reference", "metadata"} & set(sent[1]) == set()

    def test_replayed_answer_is_marked(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((202, PLACED, {"Idempotency-Replayed": "true"}))
        assert place(client).replayed

    def test_each_call_makes_a_new_key(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((202, PLACED))
        place(client)
        place(client)
        first, second = keys(fake)
        assert uuid.UUID(first) != uuid.UUID(second)

    def test_timeouts_reach_the_connection(self, fake: responses.RequestsMock, to_post: Answers) -> None:
        to_post((202, PLACED))
        with HoldfastClient(EDGE, timeout=(0.5, 3)) as client:
            place(client)
        assert fake.calls[0].request.req_kwargs["timeout"] == (0.5, 3)  # type: ignore[attr-defined]

    def test_netrc_does_not_replace_the_api_key(
        self, fake: responses.RequestsMock, to_post: Answers, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "netrc").write_text("machine edge.test login a password b\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        to_post((202, PLACED))
        with HoldfastClient(EDGE, "secret") as client:
            place(client)
        assert fake.calls[0].request.headers["Authorization"] == "Bearer secret"


class TestRetries:
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
            (503, error("busy")),
            (503, error("not_migrated")),
            (503, error("a_code_of_a_newer_server")),
            (504, ""),
            pytest.param((202, '{"order_ledger'), id="202 cut off"),
            pytest.param((202, "[]"), id="202 of another form"),
            pytest.param((202, {**PLACED, "total_amount_cents": "2500"}), id="202 with a wrong type"),
            pytest.param((200, {"status": "AUTHORIZED"}), id="200 without an id"),
        ],
    )
    def test_inconclusive_answer_is_retried_with_the_same_key(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers, nothing: Any
    ) -> None:
        to_post(nothing, nothing, (202, PLACED))
        assert place(client).order_ledger_id == ID
        first, *others = (call.request for call in fake.calls)
        assert len(others) == 2
        for name in ("Idempotency-Key", "X-Request-ID"):
            assert {request.headers[name] for request in others} == {first.headers[name]}
        assert {request.body for request in others} == {first.body}

    def test_pauses_grow(self, client: HoldfastClient, to_post: Answers, slept: list[float]) -> None:
        to_post(*[requests.ConnectionError()] * 3, (202, PLACED))
        place(client)
        assert slept == [0.5, 1, 2]

    @pytest.mark.parametrize(("asked", "seconds"), [("3", 3), ("0", 0), ("86400", 30), ("soon", 0), ("-5", 0)])
    def test_retry_after_is_added_to_the_pause_and_capped(
        self, client: HoldfastClient, to_post: Answers, slept: list[float], asked: str, seconds: float
    ) -> None:
        to_post((503, error("gateway_error"), {"Retry-After": asked}), (202, PLACED))
        place(client)
        assert slept == [seconds + 0.5]

    def test_retry_after_can_be_a_date(self, client: HoldfastClient, to_post: Answers, slept: list[float]) -> None:
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
            (400, "currency_mismatch", CurrencyMismatch),
            (409, "request_abandoned", RequestAbandoned),
            (409, "a_code_of_a_newer_server", HoldfastError),
            (422, "idempotency_key_reused", IdempotencyKeyReused),
            (422, "unknown_product", UnknownProduct),
        ],
        ids=lambda refusal: refusal[1],
    )
    def test_refusal_is_raised_without_a_retry(
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
    def test_answer_of_a_proxy_is_not_taken_for_one_of_the_api(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers, answer: Any
    ) -> None:
        to_post(answer)
        with pytest.raises(HoldfastError) as caught:
            place(client)
        assert type(caught.value) is HoldfastError
        assert (caught.value.status, caught.value.code) == (answer[0], "unreadable_answer")
        assert len(fake.calls) == 1

    def test_unavailable_has_the_key_for_a_retry(
        self, client: HoldfastClient, fake: responses.RequestsMock, to_post: Answers
    ) -> None:
        to_post((503, error("gateway_error")))
        with pytest.raises(Unavailable) as caught:
            place(client)
        used = set(keys(fake))
        assert used == {caught.value.idempotency_key}
        assert len(fake.calls) > 10
        assert (caught.value.status, caught.value.code) == (503, "gateway_error")
        assert str(caught.value.idempotency_key) in str(caught.value)
        assert "unknown" in caught.value.message

    def test_missing_answer_has_no_status_but_the_request_id_that_was_sent(
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

    def test_no_time_for_retries_means_one_attempt(
        self, fake: responses.RequestsMock, to_post: Answers, slept: list[float]
    ) -> None:
        to_post((503, error("gateway_error")))
        with HoldfastClient(EDGE, retry_for=0, sleep=slept.append) as client, pytest.raises(Unavailable):
            place(client)
        assert not slept
        assert len(fake.calls) == 1

    @pytest.mark.parametrize("seconds", [-1, float("nan")])
    def test_bad_retry_time_is_refused(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="retry_for"):
            HoldfastClient(retry_for=seconds)

    def test_retries_outlast_the_lease_of_a_request_whose_worker_died(
        self, client: HoldfastClient, fake: responses.RequestsMock, slept: list[float]
    ) -> None:
        lease_s = 30

        def edge(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
            if not slept:
                raise requests.ConnectionError("the worker died")
            if sum(slept) < lease_s:
                return 409, {"Retry-After": "1"}, json.dumps(error("request_in_progress"))
            return 202, {}, json.dumps(PLACED)

        fake.add_callback("POST", f"{EDGE}/orders", edge)
        assert place(client).order_ledger_id == ID
        assert lease_s <= sum(slept) < 60  # after a minute the server closes the request

    def test_retries_end_with_the_time_given(
        self, client: HoldfastClient, to_post: Answers, slept: list[float]
    ) -> None:
        to_post((503, error("busy"), {"Retry-After": "5"}))
        with pytest.raises(Unavailable, match=r"^No final answer after \d+ tries") as caught:
            place(client)
        assert caught.value.code == "busy"
        assert 100 < sum(slept) <= 120

    def test_jitter_only_shortens_pauses(self, to_post: Answers, slept: list[float]) -> None:
        to_post(*[requests.ConnectionError()] * 3, (202, PLACED))
        with HoldfastClient(EDGE, sleep=slept.append) as client:
            place(client)
        assert all(0 <= pause <= longest for pause, longest in zip(slept, (0.5, 1, 2), strict=True))


class TestErrors:
    def test_decline_has_its_code(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((402, error("payment_declined", decline_code="insufficient_funds", is_retryable=False)))
        with pytest.raises(PaymentDeclined) as caught:
            place(client)
        assert caught.value.decline_code == "insufficient_funds"

    def test_unknown_products_are_listed(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((422, error("unknown_product", product_ids=[PRODUCT])))
        with pytest.raises(UnknownProduct) as caught:
            place(client)
        assert caught.value.product_ids == [PRODUCT]

    def test_products_of_another_currency_are_listed(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((400, error("currency_mismatch", product_ids=[PRODUCT])))
        with pytest.raises(ValidationError) as caught:
            place(client, currency="EUR")
        assert isinstance(caught.value, CurrencyMismatch)
        assert caught.value.product_ids == [PRODUCT]

    def test_product_ids_of_another_form_are_no_ids(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((422, error("unknown_product", product_ids="none")))
        with pytest.raises(UnknownProduct) as caught:
            place(client)
        assert caught.value.product_ids == []

    def test_abandoned_request_is_never_a_decline(self, client: HoldfastClient, to_post: Answers) -> None:
        """Older servers stored a decline with this code; the answer is still replayed."""
        to_post((402, error("payment_declined", decline_code="abandoned"), {"Idempotency-Replayed": "true"}))
        with pytest.raises(RequestAbandoned) as caught:
            place(client)
        assert not isinstance(caught.value, PaymentDeclined)

    def test_text_has_status_code_details_and_request_id(self, client: HoldfastClient, to_post: Answers) -> None:
        to_post((400, error("validation_error", email=["Not a valid email address."])))
        with pytest.raises(ValidationError) as caught:
            place(client)
        assert str(caught.value) == (
            "It is validation_error. (400, validation_error, {'email': ['Not a valid email address.']}, request id r-1)"
        )


class TestReading:
    def test_order_is_parsed(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        fake.get(f"{EDGE}/orders/{ID}", json=ORDER)
        order = client.get_order(uuid.UUID(ID))
        assert order.failure == Failure("insufficient_stock", "Too few.")
        assert order.items[0].unit_price_cents == 1250
        assert order.timeline[0].at - order.created_at == timedelta(milliseconds=250)
        assert order.needs_attention_at == datetime(2026, 11, 22, 10, 0, 2, tzinfo=UTC)
        assert order.next_retry_at is None
        assert order.is_terminal
        assert not order.is_completed

    def test_order_has_what_the_shop_and_later_events_added(
        self, client: HoldfastClient, fake: responses.RequestsMock
    ) -> None:
        cancellation = {"requested_at": "2026-11-22T10:00:00Z", "reason": "duplicate", "status": "pending"}
        more = {"reference": "r", "metadata": {"a": "b"}, "refunded_cents": 5, "refund_status": "partial"}
        fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, **more, "cancellation": cancellation})
        order = client.get_order(ID)
        assert (order.reference, order.metadata, order.refunded_cents, order.refund_status) == tuple(more.values())
        assert order.cancellation == Cancellation(datetime(2026, 11, 22, 10, tzinfo=UTC), "duplicate", "pending")

    def test_order_is_cancelled(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        cancellation = {"requested_at": "2026-11-22T10:00:00Z", "reason": "duplicate", "status": "pending"}
        body = {"reason": "duplicate", "note": "Sent twice."}
        fake.post(
            f"{EDGE}/orders/{ID}/cancel",
            status=202,
            json={**ORDER, "cancellation": cancellation},
            match=[json_params_matcher(body), header_matcher({"Idempotency-Key": "k"})],
        )
        order = client.cancel_order(ID, "duplicate", note="Sent twice.", idempotency_key="k")
        assert order.cancellation
        assert order.cancellation.status == "pending"

    def test_order_that_has_ended_cannot_be_cancelled(
        self, client: HoldfastClient, fake: responses.RequestsMock
    ) -> None:
        fake.post(f"{EDGE}/orders/{ID}/cancel", status=409, json=error("order_not_cancellable", use="refunds"))
        with pytest.raises(NotCancellable) as caught:
            client.cancel_order(ID, "other")
        assert caught.value.use == "refunds"

    def test_fields_of_a_newer_server_are_ignored(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        lines = [{**ORDER["items"][0], "tax_cents": 1}]
        entries = [{**ORDER["timeline"][0], "by": "edge"}]
        newer = {**ORDER, "status": "COMPLETED", "failure": None, "items": lines, "timeline": entries, "colour": "blue"}
        fake.get(f"{EDGE}/orders/{ID}", json=newer)
        assert client.get_order(ID).is_completed

    def test_wait_extends_the_read_timeout(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        fake.get(f"{EDGE}/orders/{ID}?wait=12.5", json=ORDER)
        client.get_order(ID, wait=12.5)
        assert fake.calls[0].request.req_kwargs["timeout"] == (2, 22.5)  # type: ignore[attr-defined]
        assert keys(fake) == [None]

    def test_id_cannot_change_the_path(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        fake.get(f"{EDGE}/orders/..%2Fhealth", status=404, json=error("not_found"))
        with pytest.raises(NotFound):
            client.get_order("../health")

    def test_read_is_retried_and_has_no_key(self, client: HoldfastClient, fake: responses.RequestsMock) -> None:
        fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, "created_at": "yesterday"})
        with pytest.raises(Unavailable) as caught:
            client.get_order(ID)
        assert len(fake.calls) > 1
        assert caught.value.idempotency_key is None
        assert "placed" not in caught.value.message


class TestWaiting:
    def test_wait_until_terminal_returns_the_ended_order(
        self, client: HoldfastClient, fake: responses.RequestsMock, slept: list[float]
    ) -> None:
        for status in ("AUTHORIZED", "COMPENSATING", "FAILED"):
            fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, "status": status})
        assert client.wait_until_terminal(ID, timeout=300).status == "FAILED"
        assert [call.request.params["wait"] for call in fake.calls] == ["30"] * 3  # type: ignore[attr-defined]
        assert slept == [0.1, 0.1]

    def test_wait_until_terminal_raises_when_time_is_up(
        self, client: HoldfastClient, fake: responses.RequestsMock
    ) -> None:
        fake.get(f"{EDGE}/orders/{ID}", json={**ORDER, "status": "COMPENSATING"})
        with pytest.raises(StillInProgress, match=f"{ID} is still COMPENSATING after 0 s") as caught:
            client.wait_until_terminal(ID, timeout=0)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value.order, Order)
