"""The proxy itself: its faults, its rules and its record of calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.faults.counting_participant import Participant
from tests.faults.network_faults import (
    Answer,
    Corrupt,
    Cut,
    Delay,
    DelayAnswer,
    DropAnswer,
    DropRequest,
    Repeat,
)
from tests.faults.proxy import NAMED, Fault, Proxy
from tests.waiting import eventually

NAMES = ("web", "orders_service", "inventory_service", "payments_service")


@pytest.fixture
def participant() -> Iterator[Participant]:
    server = Participant()
    yield server
    server.stop()


@pytest.fixture
def proxy(participant: Participant) -> Iterator[Proxy]:
    proxy = Proxy(dict.fromkeys(NAMES, participant.url))
    yield proxy
    proxy.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


class Caller:
    """Captures payments through the proxy."""

    def __init__(self, proxy: Proxy, session: requests.Session) -> None:
        self._url, self._session = f"{proxy.url('payments_service')}/payments", session

    def capture(self, id_: str = "auth_1", **body: Any) -> requests.Response:
        return self._session.post(f"{self._url}/capture/{id_}", json=body, timeout=30)

    def is_cut_off(self) -> bool:
        try:
            self.capture()
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            return True
        return False

    def captures_in_background(self) -> threading.Thread:
        thread = threading.Thread(target=self.is_cut_off, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def caller(proxy: Proxy, session: requests.Session) -> Caller:
    return Caller(proxy, session)


def test_calls_without_a_rule_pass(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    response = caller.capture(amount_cents=5)
    assert (response.status_code, response.json()) == (201, {"count": 1})
    assert participant.asked == ['POST /payments/capture/auth_1 {"amount_cents": 5}']
    (call,) = proxy.calls()
    assert (call.operation, call.path, call.json) == ("capture", "/payments/capture/auth_1", {"amount_cents": 5})
    assert (call.fault, call.statuses) == ("", [201])
    eventually(lambda: call.ended_at)
    assert call.delivered_at
    assert call.arrived_at <= call.delivered_at <= (call.ended_at or 0)


def test_connections_are_kept_alive(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    for _ in range(5):
        caller.capture()
    assert len(participant.connections) == 1


@pytest.mark.parametrize("operation", NAMED)
def test_operations_are_named_as_in_the_contract(proxy: Proxy, session: requests.Session, operation: str) -> None:
    name, method, path = NAMED[operation]
    session.request(method, proxy.url(name) + path.replace("[^/]+", "7") + "?ids=1,2", timeout=30)
    assert [call.operation for call in proxy.calls()] == [operation]


def test_other_calls_have_no_name(proxy: Proxy, session: requests.Session) -> None:
    session.get(f"{proxy.url('payments_service')}/health", timeout=30)
    session.post(f"{proxy.url('payments_service')}/orders", timeout=30)
    assert [call.operation for call in proxy.calls()] == ["other", "other"]


def test_dropped_request_never_arrives(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", times=1, do=DropRequest())
    assert caller.is_cut_off()
    assert participant.asked == []
    assert caller.capture().json() == {"count": 1}
    assert [(call.fault, call.statuses) for call in proxy.calls()] == [("DropRequest", []), ("", [201])]


def test_dropped_answer_leaves_the_effect(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", times=1, do=DropAnswer())
    assert caller.is_cut_off()
    assert len(participant.asked) == 1
    assert caller.capture().json() == {"count": 2}
    assert [(call.fault, call.statuses) for call in proxy.calls()] == [("DropAnswer", [201]), ("", [201])]


@pytest.mark.parametrize("gives", [1, 2])
def test_repeated_request_arrives_twice(proxy: Proxy, participant: Participant, caller: Caller, gives: int) -> None:
    proxy.on("capture", do=Repeat(gives))
    assert caller.capture(amount_cents=5).json() == {"count": gives}
    assert participant.asked == ['POST /payments/capture/auth_1 {"amount_cents": 5}'] * 2
    assert proxy.calls()[0].statuses == [201, 201]


def test_cut_answer_arrives_in_part(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", times=1, do=Cut())
    assert caller.is_cut_off()
    assert caller.capture().json() == {"count": 2}


@pytest.mark.parametrize(("body", "text"), [(b"{", "{"), (b"", ""), (b"<html>", "<html>"), ({"a": []}, '{"a": []}')])
def test_answer_body_can_be_replaced(proxy: Proxy, caller: Caller, body: Any, text: str) -> None:
    proxy.on("capture", times=1, do=Corrupt(body))
    response = caller.capture()
    assert (response.status_code, response.text) == (201, text)
    assert caller.capture().json() == {"count": 2}


def test_proxy_can_answer_by_itself(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", do=Answer(503, {"error": "gateway_error"}))
    response = caller.capture()
    assert (response.status_code, response.json()) == (503, {"error": "gateway_error"})
    assert participant.asked == []


def test_delayed_request_arrives_when_released(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", nth=1, do=(delay := Delay()))
    thread = caller.captures_in_background()
    delay.wait()
    assert participant.asked == []
    delay.release()
    thread.join()
    assert len(participant.asked) == 1


def test_delay_can_have_a_time_limit(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", do=Delay(0.05))
    caller.capture()
    (call,) = proxy.calls()
    assert (call.delivered_at or 0) - call.arrived_at >= 0.05


def test_delayed_request_arrives_after_its_caller_gave_up(
    proxy: Proxy, participant: Participant, caller: Caller
) -> None:
    proxy.on("capture", nth=1, do=(delay := Delay(caller_gives_up=True)))
    assert caller.is_cut_off()
    assert participant.asked == []
    assert caller.capture().json() == {"count": 1}
    delay.release()
    eventually(lambda: len(participant.asked) == 2)


def test_answer_can_be_delayed(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", nth=1, do=(delay := DelayAnswer()))
    thread = caller.captures_in_background()
    delay.wait()
    assert len(participant.asked) == 1
    assert thread.is_alive()
    delay.release()
    thread.join()


def test_held_calls_are_lost_when_rules_are_cleared(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    proxy.on("capture", do=(delay := Delay()))
    thread = caller.captures_in_background()
    delay.wait()
    proxy.heal()
    thread.join()
    assert participant.asked == []
    caller.capture()
    assert len(participant.asked) == 1


def test_rules_match_by_number_subject_and_condition(proxy: Proxy, caller: Caller) -> None:
    def faults(rule: dict[str, Any]) -> list[str]:
        proxy.heal()
        proxy.forget()
        proxy.on("void", do=Fault())
        proxy.on("capture", do=Corrupt(), **rule)
        for number in (1, 2, 3, 4):
            caller.capture(f"auth_{number}", about=f"order_{number}")
        return ["x" if call.fault else "-" for call in proxy.calls("capture")]

    assert faults({}) == ["x", "x", "x", "x"]
    assert faults({"nth": 3}) == ["-", "-", "x", "-"]
    assert faults({"times": 2}) == ["x", "x", "-", "-"]
    assert faults({"about": "auth_2"}) == ["-", "x", "-", "-"]
    assert faults({"about": "order_4"}) == ["-", "-", "-", "x"]
    assert faults({"about": "auth_2", "nth": 2}) == ["-", "-", "-", "-"]
    assert faults({"when": lambda call: call.path[-1] in "23"}) == ["-", "x", "x", "-"]


def test_first_matching_rule_applies(proxy: Proxy, caller: Caller) -> None:
    """`nth` counts all matching calls, including those that another rule took; `times` only its own."""
    proxy.on("capture", times=1, do=Corrupt())
    proxy.on("capture", nth=3, do=Delay(0))
    proxy.on(times=2, do=Repeat())
    for _ in range(5):
        caller.capture()
    assert [call.fault for call in proxy.calls()] == ["Corrupt", "Repeat", "Delay", "Repeat", ""]


def test_rule_for_an_unknown_operation_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(AssertionError, match="captrue"):
        proxy.on("captrue", do=DropAnswer())


def test_unused_rules_are_reported(proxy: Proxy, caller: Caller) -> None:
    proxy.on("capture", do=Repeat())
    forgotten = proxy.on("capture", nth=2, do=Cut())
    caller.capture()
    assert proxy.unmet == [forgotten]


def test_calls_are_found_by_their_subject(proxy: Proxy, caller: Caller) -> None:
    caller.capture("auth_1", idempotency_key="capture:a")
    caller.capture("auth_2", idempotency_key="capture:b")
    assert [call.path[-1] for call in proxy.calls("capture", about="auth_2")] == ["2"]
    assert [call.path[-1] for call in proxy.calls(about="capture:a")] == ["1"]
    proxy.forget()
    assert proxy.calls() == []


def test_restarted_participant_is_found_again(proxy: Proxy, participant: Participant, caller: Caller) -> None:
    """The proxy does not reuse a connection that the participant has closed: that would cost a caller an attempt."""
    caller.capture()
    port = participant.server_port
    participant.stop()
    assert caller.is_cut_off()
    successor = Participant(port)
    try:
        caller.capture()
        successor.stop()
        successor = Participant(port)
        assert caller.capture().json() == {"count": 1}
    finally:
        successor.stop()
    assert [call.statuses for call in proxy.calls()] == [[201], [], [201], [201]]
