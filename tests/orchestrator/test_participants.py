"""The request to each participant and the reading of its answers. `responses` fakes the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
import responses

from common.calls.breaker import OPENS_AFTER
from common.calls.client import No, NoEffect, Nothing, ServiceClient, Yes
from common.process.logs import request_id
from domain.states import Status
from orchestrator.definitions import SALE
from orchestrator.participants import NOT_ALLOWED, Participant, Participants
from orchestrator.saga import Deferred, Saga
from tests.orchestrator.sagas import saga, turned_back

SAGA = saga(items=({"product_id": "p", "quantity": 2, "unit_price_cents": 250},))
ORDERS, INVENTORY, PAYMENTS = "http://orders", "http://inventory", "http://payments"
VOID, REFUND = f"{PAYMENTS}/payments/void/auth_1", f"{PAYMENTS}/payments/refund/auth_1"
CANCEL = f"{ORDERS}/orders/{SAGA.order_id}/cancel"


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with responses.mock:
        yield


@pytest.fixture
def participants() -> Participants:
    return new_participants()


def new_participants() -> Participants:
    return Participants(*(Participant(ServiceClient(url[7:], url), pause_s=1) for url in (ORDERS, INVENTORY, PAYMENTS)))


def at(action: str) -> Saga:
    """The saga with this action next."""
    for step in SALE:
        if step.do == action:
            return saga(items=SAGA.items, status=step.at)
    if action == "void_abandoned_authorization":
        return saga(status=Status.AWAITING_AUTHORIZATION)
    undo = ("void_payment", "release_inventory", "cancel_order")
    return turned_back(Status.ORDER_CREATED, undone=undo[: undo.index(action)])


def refusal(code: str, **details: Any) -> dict[str, Any]:
    return {"error": code, "message": "No.", "details": details, "request_id": "r"}


CALLS = [
    (
        "create_order", "POST", f"{ORDERS}/orders",
        {"order_ledger_id": SAGA.id, "user_id": SAGA.user_id, "total_amount_cents": 500, "currency": "USD",
         "items": [{"product_id": "p", "quantity": 2, "unit_price_cents": 250}]},
        {"id": SAGA.order_id, "order_ledger_id": SAGA.id, "status": "CREATED"},
    ),
    (
        "reserve_inventory", "POST", f"{INVENTORY}/inventory/reservations",
        {"order_id": SAGA.order_id, "items": [{"product_id": "p", "quantity": 2}]},
        {"order_id": SAGA.order_id, "reservation_ids": ["x"]},
    ),
    (
        "capture_payment", "POST", f"{PAYMENTS}/payments/capture/auth_1",
        {"idempotency_key": f"capture:{SAGA.id}", "amount_cents": 500},
        {"authorization_id": "auth_1", "status": "CAPTURED", "amount_cents": 500},
    ),
    ("confirm_order", "PUT", f"{ORDERS}/orders/{SAGA.order_id}/confirm", None,
     {"id": SAGA.order_id, "status": "CONFIRMED"}),
    (
        "void_payment", "POST", VOID,
        {"idempotency_key": f"void:{SAGA.id}", "reason": "order failed"}, {"status": "VOIDED"},
    ),
    (
        "release_inventory", "DELETE", f"{INVENTORY}/inventory/reservations/{SAGA.order_id}", None,
        {"order_id": SAGA.order_id, "released_count": 0},
    ),
    ("cancel_order", "PUT", CANCEL, None, {"id": SAGA.order_id, "status": "CANCELLED"}),
    (
        "void_abandoned_authorization", "POST", f"{PAYMENTS}/payments/void",
        {"authorization_key": f"authorize:{SAGA.id}", "idempotency_key": f"abandon:{SAGA.id}",
         "reason": "request abandoned"},
        {"status": "VOIDED"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("action", "method", "url", "sent", "answer"), CALLS, ids=[call[0] for call in CALLS])
class TestEveryCall:
    def test_request_is_the_same_on_each_attempt_and_carries_the_request_id(
        self, participants: Participants, action: str, method: str, url: str, sent: Any, answer: Any
    ) -> None:
        responses.add(method, url, json=answer)
        request_id.set("r-7")
        later = replace(at(action), retry_count=3, claim_number=9)  # another attempt, by another claimant
        assert [participants.ask(saga) for saga in (at(action), later)] == [Yes(answer)] * 2
        first, second = (call.request for call in responses.calls)
        assert first.body == second.body
        assert (json.loads(first.body) if first.body else None) == sent
        assert first.headers["X-Request-ID"] == "r-7"

    def test_yes_about_something_else_is_nothing(
        self, participants: Participants, action: str, method: str, url: str, sent: Any, answer: Any
    ) -> None:
        for wrong in ({}, {"status": "?", "order_id": "?", "order_ledger_id": "?"}, []):
            responses.add(method, url, json=wrong)
            assert isinstance(participants.ask(at(action)), Nothing)

    def test_answer_outside_the_contract_is_nothing(
        self, participants: Participants, action: str, method: str, url: str, sent: Any, answer: Any
    ) -> None:
        for status in (301, 404, 405, 408, 409, 425, 429, 500, 502, 503):
            for body in ("<html>", json.dumps(refusal("something_else")), json.dumps(refusal("request_in_progress"))):
                with responses.RequestsMock() as mock:
                    mock.add(method, url, status=status, body=body)
                    assert isinstance(new_participants().ask(at(action)), Nothing), (status, body)

    def test_refused_token_costs_no_attempt(
        self, participants: Participants, action: str, method: str, url: str, sent: Any, answer: Any
    ) -> None:
        for status in (401, 403):
            with responses.RequestsMock() as mock:
                mock.add(method, url, status=status, json=refusal("unauthorized"))
                deferred = new_participants().ask(at(action))
            assert isinstance(deferred, Deferred)
            assert deferred.awaits == NOT_ALLOWED

    def test_missing_answer_is_nothing(
        self, participants: Participants, action: str, method: str, url: str, sent: Any, answer: Any
    ) -> None:
        for error in (requests.ReadTimeout(), requests.ConnectTimeout(), requests.ConnectionError()):
            responses.add(method, url, body=error)
            assert isinstance(participants.ask(at(action)), Nothing)

    def test_invalid_request_is_a_no(
        self, participants: Participants, action: str, method: str, url: str, sent: Any, answer: Any
    ) -> None:
        responses.add(method, url, status=400, json=refusal("validation_error"))
        assert participants.ask(at(action)) == No("validation_error", "No.", {})


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [
        ("reserve_inventory", 409, "insufficient_stock"),
        ("reserve_inventory", 409, "reservation_released"),
        ("reserve_inventory", 404, "product_not_found"),
        ("capture_payment", 402, "payment_declined"),
        ("capture_payment", 409, "already_voided"),
        ("capture_payment", 404, "authorization_not_found"),
        ("confirm_order", 409, "invalid_status_transition"),
        ("create_order", 409, "invalid_status_transition"),
        ("create_order", 422, "idempotency_key_reused"),
    ],
)
def test_a_refusal_that_the_contract_names_is_a_no(
    participants: Participants, action: str, status: int, code: str
) -> None:
    _, method, url, _, _ = next(call for call in CALLS if call[0] == action)
    responses.add(method, url, status=status, json=refusal(code))
    assert participants.ask(at(action)) == No(code, "No.", {})


def test_undo_of_something_that_never_happened_is_done(participants: Participants) -> None:
    responses.add("POST", VOID, status=404, json=refusal("authorization_not_found"))
    responses.add("PUT", CANCEL, status=404, json=refusal("not_found", order_id=SAGA.order_id))
    assert isinstance(participants.ask(at("void_payment")), Yes)
    assert isinstance(participants.ask(at("cancel_order")), Yes)


@pytest.mark.parametrize("action", ["confirm_order", "cancel_order"])
@pytest.mark.parametrize("details", [{}, {"order_id": "another"}])
def test_404_of_an_unknown_path_is_nothing(participants: Participants, action: str, details: dict[str, str]) -> None:
    """If ORDERS_SERVICE_URL is wrong, a 404 must neither undo a sale nor count as undone."""
    _, method, url, _, _ = next(call for call in CALLS if call[0] == action)
    responses.add(method, url, status=404, json=refusal("not_found", **details))
    assert isinstance(participants.ask(at(action)), Nothing)


def test_a_captured_payment_is_refunded_under_its_own_key(participants: Participants) -> None:
    responses.add("POST", VOID, status=409, json=refusal("already_captured", capture_id="cap_1"))
    responses.add("POST", REFUND, json={"status": "REFUNDED"})
    assert participants.ask(at("void_payment")) == Yes({"status": "REFUNDED"})
    assert json.loads(responses.calls[1].request.body or "")["idempotency_key"] == f"refund:{SAGA.id}"


@pytest.mark.parametrize(
    ("code", "status", "is_done"),
    [
        ("invalid_status_transition", "REFUNDED", True),
        ("invalid_status_transition", "AUTHORIZED", False),
        ("already_voided", "VOIDED", True),
        ("authorization_not_found", "", False),
    ],
)
def test_refund_by_an_operator_counts_as_undone(
    participants: Participants, code: str, status: str, is_done: bool
) -> None:
    responses.add("POST", VOID, status=409, json=refusal("already_captured"))
    responses.add("POST", REFUND, status=409, json=refusal(code, current_status=status))
    assert isinstance(participants.ask(at("void_payment")), Yes) == is_done


def test_unanswered_refund_is_not_done(participants: Participants) -> None:
    responses.add("POST", VOID, status=409, json=refusal("already_captured"))
    responses.add("POST", REFUND, status=503, json=refusal("gateway_error"))
    assert isinstance(participants.ask(at("void_payment")), Nothing)


def test_dead_participant_is_not_hammered_and_the_others_are_still_called(participants: Participants) -> None:
    responses.add("POST", f"{ORDERS}/orders", body=requests.ConnectionError())
    responses.add("DELETE", CALLS[5][2], json=CALLS[5][4])
    answers = [participants.ask(at("create_order")) for _ in range(OPENS_AFTER + 5)]
    assert [type(answer) for answer in answers] == [Nothing] * OPENS_AFTER + [Deferred] * 5
    assert len(responses.calls) == OPENS_AFTER
    assert isinstance(participants.ask(at("release_inventory")), Yes)


RESERVE = CALLS[1][2]


def order_of(*product_ids: str) -> Saga:
    items = tuple({"product_id": id_, "quantity": 1, "unit_price_cents": 500} for id_ in product_ids)
    return saga(items=items, status=Status.ORDER_CREATED)


def test_busy_costs_no_attempt_and_defers_only_orders_for_that_product(participants: Participants) -> None:
    responses.add("POST", RESERVE, status=503, json=refusal("busy", product_ids=["a"]))
    responses.add("POST", RESERVE, json=CALLS[1][4])
    assert isinstance(participants.ask(order_of("a", "b")), Deferred)
    assert isinstance(participants.ask(order_of("a")), Deferred)
    assert len(responses.calls) == 1, "the product is not requested again at once"
    assert isinstance(participants.ask(order_of("b")), Yes)


def test_busy_does_not_open_the_breaker(participants: Participants) -> None:
    responses.add("POST", RESERVE, status=503, json=refusal("busy"))
    answers = [participants.ask(order_of(f"{number}")) for number in range(OPENS_AFTER + 5)]
    assert {type(answer) for answer in answers} == {Deferred}
    assert len(responses.calls) == OPENS_AFTER + 5


@pytest.mark.parametrize("details", [{}, {"product_ids": "a"}, {"product_ids": [1, None, {}]}, {"product_ids": ["z"]}])
def test_busy_about_another_product_defers_nothing(participants: Participants, details: dict[str, Any]) -> None:
    responses.add("POST", RESERVE, status=503, json=refusal("busy", **details))
    responses.add("POST", RESERVE, json=CALLS[1][4])
    assert isinstance(participants.ask(order_of("a")), Deferred)
    assert isinstance(participants.ask(order_of("a")), Yes)


def test_busy_participant_gets_a_share_of_the_threads() -> None:
    inventory = Participant(ServiceClient("inventory", INVENTORY), pause_s=1, max_calls_while_busy=1)
    inner: list[Any] = []
    asked: list[str] = []

    def busy(_: ServiceClient, saga: Saga) -> NoEffect:
        asked.append(saga.id)
        return NoEffect("busy")

    def slow(client: ServiceClient, saga: Saga) -> Yes:
        inner.append(inventory.ask(busy, saga, []))
        return Yes({})

    assert isinstance(inventory.ask(slow, SAGA, []), Yes)
    assert isinstance(inventory.ask(slow, SAGA, []), Yes)
    assert [answer.awaits for answer in inner] == ["rows that are locked"] * 2
    assert len(asked) == 1, "the second call got a slot next to the slow one"
    assert isinstance(inventory.ask(lambda *_: Yes({}), SAGA, []), Yes), "its slot is free again"
