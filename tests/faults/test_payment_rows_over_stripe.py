"""The rows of the catalogue that touch payments, with Stripe behind the payments service.

The rows' own tests run here once more: their fixtures are those of `over_stripe`. Then answers are lost at Stripe and
at the payments service at once.
"""

from __future__ import annotations

import uuid

import pytest

from holdfast_client.models import Failure
from tests.faults.network_faults import DropAnswer, DropRequest
from tests.faults.over_stripe import (
    ProxiedOverStripe,
    crash_over_stripe,
    crashing,
    proxied,
    proxied_over_stripe,
    stack,
)
from tests.faults.proxy import Exchange, Fault
from tests.faults.test_01_authorized_not_committed import (
    test_abandoned_hold_is_voided,
    test_same_key_finishes_an_authorized_order,
)
from tests.faults.test_02_entry_without_authorization import (
    test_abandoned_entry_is_closed_permanently,
    test_same_key_finishes_an_unauthorized_entry,
)
from tests.faults.test_03_authorize_answer_lost import test_lost_authorize_answers_leave_one_hold
from tests.faults.test_04_commit_unknown import (
    ended_in_commit,
    severable,
    test_committed_order_is_replayed_after_the_database_returns,
    test_connection_ended_by_the_server_in_the_commit_gives_one_order,
    test_connection_lost_around_the_commit_gives_one_order,
)
from tests.faults.test_05_authorized_not_answered import test_unsent_202_is_replayed
from tests.faults.test_09_authorize_after_the_sweep import test_authorize_after_the_sweep_is_refused
from tests.faults.test_11_to_14_step_not_checkpointed import test_unsaved_step_is_repeated_and_done_once
from tests.faults.test_16_zombie import (
    test_zombie_waking_after_its_call_changes_nothing,
    test_zombie_waking_before_its_call_is_refused,
    test_zombie_waking_during_the_same_step_changes_nothing,
    zombie,
)
from tests.faults.test_21_done_but_unanswered import (
    test_unanswered_confirm_completes_the_sale,
    test_unanswered_step_is_undone,
)
from tests.faults.test_22_void_after_capture import (
    test_captured_payment_is_refunded_in_full,
    test_order_cancelled_from_outside_is_refunded,
)
from tests.faults.test_23_refund_answer_lost import test_lost_refund_answers_leave_one_refund
from tests.faults.test_24_undone_before_done import test_request_arriving_after_its_undo_is_refused
from tests.faults.test_25_everything_twice import test_every_request_sent_twice_has_one_effect
from tests.faults.test_26_broken_bodies import (
    test_unreadable_2xx_is_retried,
    test_unreadable_answer_to_an_undo_is_retried,
)
from tests.faults.test_27_crash_after_an_undo import (
    test_crash_after_a_refund_refunds_once,
    test_undo_continues_after_a_crash,
)
from tests.faults.test_28_undo_fails_for_long import (
    test_failing_undo_is_marked_and_retried_until_done,
    test_order_waits_for_a_dead_participant,
)
from tests.faults.test_29_retry_schedule import test_every_kind_of_missing_answer_counts_as_an_attempt
from tests.faults.test_30_no_stock import test_missing_stock_voids_the_hold_at_once
from tests.faults.test_31_capture_refused import test_refused_capture_undoes_everything
from tests.faults.test_32_hang_up_and_stop import test_client_that_hangs_up_gets_one_order_or_none
from tests.faults.test_47_slow_participant import test_hanging_call_delays_no_other_order
from tests.faults.test_50_client_gives_up import (
    slow,
    test_late_answer_is_kept_for_the_client,
    test_next_request_retries_after_a_gateway_timeout,
    test_next_request_takes_over_an_overdue_one,
)
from tests.faults.test_53_odd_answers import (
    test_refusal_that_cannot_be_stored_is_retried,
    test_undo_whose_refusal_cannot_be_stored_is_retried,
)
from tests.faults.test_57_refused_and_accepted import (
    background,
    test_entry_after_the_refusal_is_not_written,
    test_refusal_after_the_entry_is_dropped,
)
from tests.faults.test_59_abandoned_request import test_an_abandoned_request_is_not_a_declined_card
from tests.faults.test_76_void_of_unknown_payment import test_void_of_an_unknown_payment_leaves_a_tombstone
from tests.waiting import eventually

__all__ = [  # fixtures, and tests of other files
    "background", "crash_over_stripe", "crashing", "ended_in_commit", "proxied", "proxied_over_stripe",
    "severable", "slow", "stack", "test_abandoned_entry_is_closed_permanently", "test_abandoned_hold_is_voided",
    "test_an_abandoned_request_is_not_a_declined_card", "test_authorize_after_the_sweep_is_refused",
    "test_captured_payment_is_refunded_in_full", "test_client_that_hangs_up_gets_one_order_or_none",
    "test_committed_order_is_replayed_after_the_database_returns",
    "test_connection_ended_by_the_server_in_the_commit_gives_one_order",
    "test_connection_lost_around_the_commit_gives_one_order", "test_crash_after_a_refund_refunds_once",
    "test_entry_after_the_refusal_is_not_written", "test_every_kind_of_missing_answer_counts_as_an_attempt",
    "test_every_request_sent_twice_has_one_effect", "test_failing_undo_is_marked_and_retried_until_done",
    "test_hanging_call_delays_no_other_order", "test_late_answer_is_kept_for_the_client",
    "test_lost_authorize_answers_leave_one_hold", "test_lost_refund_answers_leave_one_refund",
    "test_missing_stock_voids_the_hold_at_once", "test_next_request_retries_after_a_gateway_timeout",
    "test_next_request_takes_over_an_overdue_one", "test_order_cancelled_from_outside_is_refunded",
    "test_order_waits_for_a_dead_participant", "test_refusal_after_the_entry_is_dropped",
    "test_refusal_that_cannot_be_stored_is_retried", "test_refused_capture_undoes_everything",
    "test_request_arriving_after_its_undo_is_refused", "test_same_key_finishes_an_authorized_order",
    "test_same_key_finishes_an_unauthorized_entry", "test_unanswered_confirm_completes_the_sale",
    "test_unanswered_step_is_undone", "test_undo_continues_after_a_crash",
    "test_undo_whose_refusal_cannot_be_stored_is_retried", "test_unreadable_2xx_is_retried",
    "test_unreadable_answer_to_an_undo_is_retried", "test_unsaved_step_is_repeated_and_done_once",
    "test_unsent_202_is_replayed", "test_void_of_an_unknown_payment_leaves_a_tombstone",
    "test_zombie_waking_after_its_call_changes_nothing", "test_zombie_waking_before_its_call_is_refused",
    "test_zombie_waking_during_the_same_step_changes_nothing", "zombie",
]  # fmt: skip
LOST = ("lost_before", "lost_after")
AT_STRIPE = ("create", "confirm", "capture", "cancel", "refund")
AT_PAYMENTS = ("authorize", "capture", "void", "refund")
HOLD_S = 7 * 86_400


class HoldEnds(Fault):
    """The request is delivered when Stripe holds the money no longer."""

    def __init__(self, proxied: ProxiedOverStripe) -> None:
        self._proxied = proxied

    def __call__(self, exchange: Exchange) -> None:
        self._proxied.stripe.control("advance", seconds=HOLD_S)
        exchange.reply(exchange.deliver().raw)


def accepted(proxied: ProxiedOverStripe, **changes: str | int) -> str:
    """Send an order with its key until it is accepted. :returns: its `order_ledger_id`"""
    key = uuid.uuid4().hex
    answer = eventually(lambda: (said := proxied.post(key, **changes)).status_code == 202 and said)
    return str(answer.json()["order_ledger_id"])


@pytest.mark.parametrize("fault", [DropRequest, DropAnswer])
@pytest.mark.parametrize("kind", LOST)
def test_answers_lost_on_both_sides_move_the_money_once(
    proxied: ProxiedOverStripe, kind: str, fault: type[Fault]
) -> None:
    """At Stripe twice for each operation, at the payments service once for each call."""
    for operation in AT_STRIPE:
        proxied.stripe.fault(operation, kind, times=2)
    for call in AT_PAYMENTS:
        proxied.proxy.on(call, times=1, do=fault())
    proxied.proxy.on("confirm_order", times=5, do=DropRequest())
    refunded = proxied.ended(accepted(proxied))
    unsold = proxied.ended(accepted(proxied, product=proxied.stack.product(stock=1), quantity=2))
    sold = proxied.ended(accepted(proxied))
    assert [order.status for order in (refunded, unsold, sold)] == ["FAILED", "FAILED", "COMPLETED"]
    assert [proxied.movements(order) for order in (refunded, unsold, sold)] == [
        ["authorize", "capture", "refund"], ["authorize", "void"], ["authorize", "capture"],
    ]  # fmt: skip
    assert proxied.stripe.control("look")["faults"] == {kind: 2 * len(AT_STRIPE)}
    proxied.settle()


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("operation", ["create", "confirm"])
def test_hold_of_a_client_who_never_returns_is_freed(proxied: ProxiedOverStripe, operation: str, kind: str) -> None:
    proxied.stripe.fault(operation, kind, times=1)
    with proxied.other("web", ABANDONED_AFTER_S="1", LEASE_S="1") as web:
        assert proxied.post("key-1", web=web).status_code == 503
        eventually(lambda: proxied.open_orders() == 0)
    assert proxied.sql("SELECT status FROM order_ledger") == [{"status": "AUTHORIZATION_FAILED"}]
    proxied.settle()


def test_decline_with_lost_answer_stays_a_decline(proxied: ProxiedOverStripe) -> None:
    proxied.stripe.fault("confirm", "lost_after", times=1)
    proxied.proxy.on("authorize", nth=2, do=DropAnswer())
    answers = [proxied.post("key-1", token="pm_card_chargeDeclinedExpiredCard") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 402, 402]
    assert answers[3].json()["details"]["decline_code"] == "expired_card"
    proxied.settle()


def test_hold_that_ended_by_itself_undoes_the_order(proxied: ProxiedOverStripe) -> None:
    """As row 31. The order waits for its capture longer than Stripe holds the money."""
    proxied.proxy.on("capture", times=4, do=DropRequest())
    proxied.proxy.on("capture", times=1, do=HoldEnds(proxied))
    order = proxied.ended(proxied.order(quantity=3))
    assert order.status == "FAILED"
    assert order.failure == Failure(code="payment_declined", message="The payment was declined: hold_expired.")
    assert proxied.movements(order) == ["authorize", "void"]
    assert proxied.stock() == 1000
    proxied.settle()
