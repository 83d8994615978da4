"""One function per call to a participant. Every id it sends is known before, every key is the same on each attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.calls.breaker import Breaker
from common.calls.client import AnswerTo, No, Nothing, ServiceClient, Yes
from common.process import moments
from domain.states import authorize_key
from orchestrator.saga import CLOSE_ABANDONED, Deferred, Saga

NEVER_HAPPENED = Yes({})
"""What was to be undone is not there; the participant remembers, and refuses it should it still arrive."""


@dataclass(frozen=True)
class Participant:
    client: ServiceClient
    breaker: Breaker


class Participants:
    """The services that a saga calls, each behind its breaker."""

    def __init__(self, orders: Participant, inventory: Participant, payments: Participant) -> None:
        self._actions: dict[str, tuple[Participant, Callable[[ServiceClient, Saga], AnswerTo]]] = {
            "create_order": (orders, create_order),
            "reserve_inventory": (inventory, reserve_inventory),
            "capture_payment": (payments, capture_payment),
            "confirm_order": (orders, confirm_order),
            "void_payment": (payments, void_payment),
            "release_inventory": (inventory, release_inventory),
            "cancel_order": (orders, cancel_order),
            CLOSE_ABANDONED: (payments, void_abandoned_authorization),
        }

    def ask(self, saga: Saga) -> AnswerTo | Deferred:
        """The answer to the saga's next action."""
        participant, action = self._actions[saga.next_action]
        wait_s = participant.breaker.wait_s()
        if wait_s:
            return Deferred(wait_s)
        answer = action(participant.client, saga)
        participant.breaker.note(answered=not isinstance(answer, Nothing))
        return answer


def create_order(orders: ServiceClient, saga: Saga) -> AnswerTo:
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


def reserve_inventory(inventory: ServiceClient, saga: Saga) -> AnswerTo:
    items = [{"product_id": item["product_id"], "quantity": item["quantity"]} for item in saga.items]
    return inventory.ask(
        "POST",
        "/inventory/reservations",
        {"order_id": saga.order_id, "items": items},
        refusals=frozenset({"insufficient_stock", "product_not_found", "reservation_released"}),
        is_yes=lambda reserved: reserved["order_id"] == saga.order_id,
    )


def capture_payment(payments: ServiceClient, saga: Saga) -> AnswerTo:
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


def confirm_order(orders: ServiceClient, saga: Saga) -> AnswerTo:
    answer = orders.ask(
        "PUT",
        f"/orders/{saga.order_id}/confirm",
        refusals=frozenset({"invalid_status_transition", "not_found"}),
        is_yes=lambda order: order["id"] == saga.order_id and order["status"] == "CONFIRMED",
    )
    return _misrouted(answer, saga) or answer


def void_payment(payments: ServiceClient, saga: Saga) -> AnswerTo:
    """Give the money back: void the hold, or refund it where it was captured."""
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


def _refund(payments: ServiceClient, saga: Saga) -> AnswerTo:
    answer = payments.ask(
        "POST",
        f"/payments/refund/{saga.payment_authorization_id}",
        {"idempotency_key": f"refund:{saga.id}", "reason": "order failed"},
        refusals=frozenset({"already_voided", "authorization_not_found", "invalid_status_transition"}),
        is_yes=lambda refunded: refunded["status"] == "REFUNDED",
    )
    moments.reached("undo.after_refund")
    match answer:
        case No("already_voided") | No("invalid_status_transition", details={"current_status": "REFUNDED"}):
            return Yes({})  # somebody has given it all back already
    return answer


def release_inventory(inventory: ServiceClient, saga: Saga) -> AnswerTo:
    answer = inventory.ask(
        "DELETE",
        f"/inventory/reservations/{saga.order_id}",
        is_yes=lambda released: released["order_id"] == saga.order_id,
    )
    moments.reached("undo.after_release")
    return answer


def cancel_order(orders: ServiceClient, saga: Saga) -> AnswerTo:
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


def _misrouted(answer: AnswerTo, saga: Saga) -> Nothing | None:
    """A path that nobody serves is `not_found` as well, and a mistake in a deployment must not undo a sale.

    Only an answer that names the order comes from somebody who looked for it.
    """
    if isinstance(answer, No) and answer.code == "not_found" and answer.details.get("order_id") != saga.order_id:
        return Nothing("orders: nobody serves this path; is ORDERS_SERVICE_URL right?")
    return None


def void_abandoned_authorization(payments: ServiceClient, saga: Saga) -> AnswerTo:
    """Void by the key of the authorize call, whose answer nobody knows; a call that arrives later is refused."""
    return payments.ask(
        "POST",
        "/payments/void",
        {
            "authorization_key": authorize_key(saga.id),
            "idempotency_key": f"abandon:{saga.id}",
            "reason": "request abandoned",
        },
        refusals=frozenset({"already_captured"}),
        is_yes=lambda voided: voided["status"] == "VOIDED",
    )
