"""One function for each call to a participant. Ids are known before the call, and keys are the same on each attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common.calls.breaker import Breaker, BusyLimit, LockedRows
from common.calls.client import Answer, No, NoEffect, NotAllowed, Nothing, ServiceClient, Yes, word
from common.process import measures, moments
from orchestrator.abandoned import CLOSE_ABANDONED, void_abandoned_authorization
from orchestrator.calls import Calls
from orchestrator.refund_calls import pending_or, refund_payment, restock
from orchestrator.saga import DOWN, Deferred, Outcome, Pending, Saga, Sale

NOTE = "note"
"""Calls nobody: the database adds to the order's sums when the refund succeeds."""
BUSY = "rows that are locked"
NOT_ALLOWED = "a participant that refuses our token"
Action = Callable[[Calls, Any], Answer | Pending]
NEVER_HAPPENED = Yes({})
"""There is nothing to undo. The participant remembers that, and refuses the request if it still arrives."""


class Participant:
    """One service, with breakers that defer calls which would only wait."""

    def __init__(self, client: ServiceClient, pause_s: float, max_calls_while_busy: int = 8) -> None:
        """:param pause_s: seconds until it is asked again after it was down or busy; longer each time"""
        self._client, self._pause_s = client, pause_s
        self._breaker = Breaker(pause_s)
        self._locked_rows = LockedRows(pause_s)
        self._busy_limit = BusyLimit(max_calls_while_busy)

    def is_held_back(self) -> bool:
        """Whether the breaker is open."""
        return self._breaker.is_open

    def ask(self, action: Action, saga: Saga, row_ids: list[str]) -> Outcome:
        """:param row_ids: the rows shared with other orders that the participant locks for this action"""
        with self._busy_limit.slot() as is_free:
            if not is_free:
                return Deferred(self._pause_s * (1 + random.random()), BUSY)
            if wait_s := self._locked_rows.wait_s(row_ids):
                return Deferred(wait_s, BUSY)
            if wait_s := self._breaker.wait_s():
                return Deferred(wait_s, f"{DOWN}: {self._client.name}")
            calls = Calls(self._client)
            answer = action(calls, saga)
        outcome = self._outcome(answer, row_ids)
        attempts = calls.attempts(answer)
        return replace(outcome, attempts=attempts) if attempts else outcome

    def _outcome(self, answer: Answer | Pending, row_ids: list[str]) -> Outcome:
        self._breaker.note(answered=not isinstance(answer, Nothing) or isinstance(answer, NoEffect))
        if isinstance(answer, NoEffect):
            return self._deferred(answer, row_ids)
        if isinstance(answer, NotAllowed):  # costs no attempt: a mistake in a deployment must not undo sales
            return Deferred(self._breaker.left_s() or self._pause_s * (1 + random.random()), NOT_ALLOWED)
        if not isinstance(answer, Nothing):
            self._locked_rows.note(row_ids, locked=False)
        return answer

    def _deferred(self, answer: NoEffect, row_ids: list[str]) -> Deferred:
        """NoEffect costs no attempt: the call had no effect, and a lock that lasts must not undo sales."""
        self._busy_limit.note_busy()
        locked = answer.details.get("product_ids")
        self._locked_rows.note([id_ for id_ in row_ids if isinstance(locked, list) and id_ in locked], locked=True)
        return Deferred(self._locked_rows.wait_s(row_ids) or self._pause_s * (1 + random.random()), BUSY)


class Participants:
    """The services that the sagas call."""

    def __init__(self, orders: Participant, inventory: Participant, payments: Participant) -> None:
        self._by_name = {"orders": orders, "inventory": inventory, "payments": payments}
        self._actions: dict[str, tuple[Participant, Action]] = {
            "create_order": (orders, create_order),
            "reserve_inventory": (inventory, reserve_inventory),
            "capture_payment": (payments, capture_payment),
            "confirm_order": (orders, confirm_order),
            "void_payment": (payments, void_payment),
            "release_inventory": (inventory, release_inventory),
            "cancel_order": (orders, cancel_order),
            CLOSE_ABANDONED: (payments, void_abandoned_authorization),
            "refund_payment": (payments, refund_payment),
            "restock": (inventory, restock),
        }

    @property
    def down(self) -> list[str]:
        """Those whose breaker is open."""
        return [name for name, participant in self._by_name.items() if participant.is_held_back()]

    def ask(self, saga: Saga) -> Outcome:
        """Ask for the saga's next action."""
        if saga.next_action == NOTE:
            return Yes({})
        participant, action = self._actions[saga.next_action]
        began = time.perf_counter()
        outcome = participant.ask(action, saga, _locked_products(action, saga))
        measures.step(saga.next_action, _word(outcome), time.perf_counter() - began)
        return outcome


def _word(outcome: Outcome) -> str:
    return type(outcome).__name__.lower() if isinstance(outcome, Deferred | Pending) else word(outcome)


def _locked_products(action: Action, saga: Saga) -> list[str]:
    if action in (reserve_inventory, release_inventory):
        return [str(item["product_id"]) for item in saga.items]
    return [saga.next_product] if action is restock else []


def create_order(orders: Calls, saga: Sale) -> Answer:
    body = {
        "order_ledger_id": saga.id,
        "user_id": saga.user_id,
        "total_amount_cents": saga.total_amount_cents,
        "currency": saga.currency,
        "items": saga.items,
    }
    return orders.ask(
        "POST",
        "/orders",
        body,
        refusals=frozenset({"invalid_status_transition"}),
        is_yes=lambda order: order["order_ledger_id"] == saga.id and order["status"] != "CANCELLED",
    )


def reserve_inventory(inventory: Calls, saga: Sale) -> Answer:
    items = [{"product_id": item["product_id"], "quantity": item["quantity"]} for item in saga.items]
    return inventory.ask(
        "POST",
        "/inventory/reservations",
        {"order_id": saga.order_id, "items": items},
        refusals=frozenset({"insufficient_stock", "product_not_found", "reservation_released"}),
        is_yes=lambda reserved: reserved["order_id"] == saga.order_id,
    )


def capture_payment(payments: Calls, saga: Sale) -> Answer:
    return payments.ask(
        "POST",
        f"/payments/capture/{saga.payment_authorization_id}",
        {"idempotency_key": f"capture:{saga.id}", "amount_cents": saga.total_amount_cents},
        refusals=frozenset({"payment_declined", "already_voided", "authorization_not_found"}),
        is_yes=lambda captured: (
            captured["status"] == "CAPTURED"
            and captured["authorization_id"] == saga.payment_authorization_id
            and captured["amount_cents"] == saga.total_amount_cents
        ),
    )


def confirm_order(orders: Calls, saga: Sale) -> Answer:
    answer = orders.ask(
        "PUT",
        f"/orders/{saga.order_id}/confirm",
        refusals=frozenset({"invalid_status_transition", "not_found"}),
        is_yes=lambda order: order["id"] == saga.order_id and order["status"] == "CONFIRMED",
    )
    return _misrouted(answer, saga) or answer


def void_payment(payments: Calls, saga: Sale) -> Answer | Pending:
    """Return the money: void the hold, or refund what was captured."""
    answer = payments.ask(
        "POST",
        f"/payments/void/{saga.payment_authorization_id}",
        {"idempotency_key": f"void:{saga.id}", "reason": "order failed"},
        refusals=frozenset({"already_captured", "authorization_not_found"}),
        is_yes=lambda voided: voided["status"] == "VOIDED",
    )
    match answer:
        case No("already_captured"):
            return _refund(payments, saga)
        case No("authorization_not_found"):
            return NEVER_HAPPENED
    moments.reached("undo.after_void")
    return answer


def _refund(payments: Calls, saga: Sale) -> Answer | Pending:
    answer = payments.ask(
        "POST",
        f"/payments/refund/{saga.payment_authorization_id}",
        {"idempotency_key": f"refund:{saga.id}", "reason": "order failed"},
        refusals=frozenset(
            {"refund_declined", "already_voided", "authorization_not_found", "invalid_status_transition"}
        ),
        is_yes=lambda refunded: refunded["status"] in ("REFUNDED", "PENDING"),
    )
    moments.reached("undo.after_refund")
    match answer:
        case No("already_voided") | No("invalid_status_transition", details={"current_status": "REFUNDED"}):
            return Yes({})  # all of it has been refunded already
    return pending_or(answer)


def release_inventory(inventory: Calls, saga: Sale) -> Answer:
    answer = inventory.ask(
        "DELETE",
        f"/inventory/reservations/{saga.order_id}",
        is_yes=lambda released: released["order_id"] == saga.order_id,
    )
    moments.reached("undo.after_release")
    return answer


def cancel_order(orders: Calls, saga: Sale) -> Answer:
    answer = orders.ask(
        "PUT",
        f"/orders/{saga.order_id}/cancel",
        refusals=frozenset({"invalid_status_transition", "not_found"}),
        is_yes=lambda order: order["id"] == saga.order_id and order["status"] == "CANCELLED",
    )
    moments.reached("undo.after_cancel")
    if misrouted := _misrouted(answer, saga):
        return misrouted
    return NEVER_HAPPENED if isinstance(answer, No) and answer.code == "not_found" else answer


def _misrouted(answer: Answer, saga: Sale) -> Nothing | None:
    """Detect a `not_found` from something other than the orders service. A misconfiguration must not undo a sale.

    Only an answer that names the order comes from a service that looked for it.
    """
    if isinstance(answer, No) and answer.code == "not_found" and answer.details.get("order_id") != saga.order_id:
        return Nothing("orders: unknown path; check ORDERS_SERVICE_URL")
    return None
