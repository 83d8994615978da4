"""The saga table: every answer at every step, without I/O."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from common.calls.client import No, Nothing, Yes
from domain.states import LEGAL_MOVES, Status
from orchestrator.abandoned import CLOSE_ABANDONED
from orchestrator.definitions import SALE, Step
from orchestrator.saga import Deferred, RetryPolicy, after
from tests.orchestrator.sagas import saga, turned_back

POLICY = RetryPolicy(jitter=0)
MONEY_FIRST = ("void_payment", "release_inventory", "cancel_order")


def test_steps_lead_from_authorized_to_completed() -> None:
    assert [step.at for step in SALE] + [SALE[-1].reaches] == [
        "AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED",
    ]  # fmt: skip
    assert [step.do for step in SALE] == ["create_order", "reserve_inventory", "capture_payment", "confirm_order"]
    assert all(one.reaches == following.at for one, following in pairwise(SALE))


@pytest.mark.parametrize(
    ("at", "undo"),
    [
        (Status.AUTHORIZED, ("void_payment", "cancel_order")),
        (Status.ORDER_CREATED, MONEY_FIRST),
        (Status.INVENTORY_RESERVED, MONEY_FIRST),
        (Status.PAYMENT_CAPTURED, ("cancel_order", "void_payment", "release_inventory")),
    ],
)
def test_compensation_undoes_in_this_order(at: Status, undo: tuple[str, ...]) -> None:
    now, done = turned_back(at), []
    while not now.status.is_terminal:
        done.append(now.next_action)
        now = after(now, Yes({}), POLICY)
    assert tuple(done) == undo
    assert now.status == Status.FAILED
    assert now.failure == ("why", "because")


@pytest.mark.parametrize("step", SALE, ids=lambda step: step.do)
class TestEveryStep:
    def test_yes_advances_and_resets_the_retry_count(self, step: Step) -> None:
        now = after(saga(status=step.at, retry_count=3), Yes({}), POLICY)
        assert (now.status, now.retry_count, now.retry_in_s) == (step.reaches, 0, None)

    def test_no_starts_the_compensation_at_once(self, step: Step) -> None:
        now = after(saga(status=step.at), No("insufficient_stock", "Sold out."), POLICY)
        assert (now.status, now.compensating_from, now.retry_in_s) == (Status.COMPENSATING, step.at, None)
        assert now.failure == ("insufficient_stock", "Sold out.")
        assert now.detail == f"{step.do}: insufficient_stock"

    def test_nothing_is_retried_after_1_4_16_64_seconds_then_compensated(self, step: Step) -> None:
        now, delays = saga(status=step.at), []
        while now.status == step.at:
            now = after(replace(now, retry_in_s=None), Nothing("ReadTimeout"), POLICY)
            delays.append(now.retry_in_s)
        assert delays == [1, 4, 16, 64, None]
        assert (now.status, now.compensating_from, now.retry_count) == (Status.COMPENSATING, step.at, 0)
        assert now.failure is not None
        assert now.failure[0] == f"{step.do}_unanswered"
        assert "ReadTimeout" in now.failure[1]

    def test_open_circuit_costs_no_attempt(self, step: Step) -> None:
        now = after(saga(status=step.at, retry_count=4), Deferred(2.5), POLICY)
        assert (now.status, now.retry_count, now.retry_in_s) == (step.at, 4, 2.5)


@pytest.mark.parametrize("step", SALE, ids=lambda step: step.do)
class TestEveryUndo:
    def test_nothing_is_retried_without_end_and_marked_after_the_fifth(self, step: Step) -> None:
        now, delays, marked = turned_back(step.at), [], []
        for _ in range(8):
            now = after(replace(now, retry_in_s=None), Nothing("ConnectionError"), POLICY)
            delays.append(now.retry_in_s)
            marked.append(now.attention is not None)
        assert delays == [1, 4, 16, 64, 300, 300, 300, 300]
        assert marked == [False] * 4 + [True] * 4
        assert now.status == Status.COMPENSATING

    def test_refused_undo_is_marked_at_once_and_retried(self, step: Step) -> None:
        now = after(turned_back(step.at), No("validation_error", "What?"), POLICY)
        assert (now.status, now.retry_in_s) == (Status.COMPENSATING, 1)
        assert now.attention is not None

    def test_yes_removes_the_mark(self, step: Step) -> None:
        now = after(turned_back(step.at, retry_count=7, attention="why"), Yes({}), POLICY)
        assert (now.attention, now.retry_count, len(now.undone)) == (None, 0, 1)

    def test_undo_is_marked_when_the_participant_stays_down(self, step: Step) -> None:
        early, late = (turned_back(step.at, stalled_s=seconds) for seconds in (84, 86))
        assert after(early, Deferred(1), POLICY).attention is None
        now = after(late, Deferred(1), POLICY)
        assert now.attention is not None
        assert (now.retry_count, now.retry_in_s) == (0, 1)

    def test_failed_requires_a_yes_from_every_undo(self, step: Step) -> None:
        for left_out in step.undo:
            undone = tuple(name for name in step.undo if name != left_out)
            now = turned_back(step.at, undone=undone)
            assert now.next_action == left_out
            assert after(now, Nothing("x"), POLICY).status == Status.COMPENSATING
            assert after(now, No("x", ""), POLICY).status == Status.COMPENSATING
            assert after(now, Deferred(1), POLICY).status == Status.COMPENSATING


CONFIRMED = No("invalid_status_transition", "", {"current_status": "CONFIRMED", "attempted_status": "CANCELLED"})


def test_order_that_is_already_confirmed_completes() -> None:
    now = after(turned_back(Status.PAYMENT_CAPTURED), CONFIRMED, POLICY)
    assert (now.status, now.failure) == (Status.COMPLETED, None)


@pytest.mark.parametrize(
    "no", [No("invalid_status_transition", "", {"current_status": "CREATED"}), No("not_found", "")]
)
def test_only_a_confirmed_order_completes(no: No) -> None:
    assert after(turned_back(Status.PAYMENT_CAPTURED), no, POLICY).status == Status.COMPENSATING


def test_compensation_from_an_earlier_step_never_completes() -> None:
    at_cancel = turned_back(Status.INVENTORY_RESERVED, undone=("void_payment", "release_inventory"))
    assert after(at_cancel, CONFIRMED, POLICY).status == Status.COMPENSATING


def test_abandoned_request_is_closed_only_by_a_yes() -> None:
    waiting = saga(status=Status.AWAITING_AUTHORIZATION, payment_authorization_id=None)
    assert waiting.next_action == CLOSE_ABANDONED
    closed = after(waiting, Yes({}), POLICY)
    assert closed.status == Status.AUTHORIZATION_FAILED
    assert closed.detail == "abandoned"
    for answer in (Nothing("x"), No("already_captured", "")):
        now = after(waiting, answer, POLICY)
        assert (now.status, now.retry_in_s) == (Status.AWAITING_AUTHORIZATION, 1)


def test_every_move_is_legal() -> None:
    answers = (Yes({}), No("x", ""), Nothing("x"), Deferred(1), CONFIRMED)
    starts = [saga(status=step.at, retry_count=count) for step in SALE for count in range(5)]
    starts += [turned_back(step.at, undone=step.undo[:n]) for step in SALE for n in range(len(step.undo))]
    starts.append(saga(status=Status.AWAITING_AUTHORIZATION))
    for start in starts:
        for answer in answers:
            now = after(start, answer, POLICY)
            assert now.status == start.status or now.status in LEGAL_MOVES[start.status]


def test_jitter_only_adds_at_most_its_share() -> None:
    jittery = RetryPolicy(jitter=0.1)
    delays = [jittery.delay(2) for _ in range(200)]
    assert min(delays) >= 4
    assert max(delays) <= 4.4
    assert len(set(delays)) > 1
