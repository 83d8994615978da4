"""What each action does, in money, as its dialog tells before it is confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.database.database import Row
from console.formats import money, words
from domain.states import Status

MAY_COMPLETE = "If its confirmation is on its way already, the order completes all the same."


def effects_on(order: Row) -> dict[str, str]:
    """Action → its effect."""
    return {
        "retry": retry(order),
        "cancel": cancel(order),
        "note": "Writes a note for other operators. No money moves.",
        "dealt_with": dealt_with(order),
    }


def retry(order: Row) -> str:
    step = next((words(step["action"]) for step in order["steps"] if step["state"] == "now"), "the next step")
    total = money(order["total_amount_cents"], order["currency"])
    if order["status"] == Status.COMPENSATING:
        end = f"At the end, nothing of {total} stays charged or held."
    elif _captured(order):
        end = f"{total} has been charged already, and is not charged again."
    else:
        end = f"If the order goes on, {total} is charged once."
    return f"Tries “{step}” now. {end}"


def cancel(order: Row) -> str:
    if captured := _captured(order):
        return f"Refunds {money(captured, order['currency'])} to the customer. {MAY_COMPLETE}"
    if held := _held(order):
        return f"Releases the hold of {money(held, order['currency'])}; nothing is charged. {MAY_COMPLETE}"
    return f"Nothing is held or charged; 0 of {money(order['total_amount_cents'], order['currency'])} moves."


def remaining(order: Row) -> int:
    """What is left to refund, in the currency's smallest unit."""
    return int(order["total_amount_cents"]) - int(order["refund_reserved_cents"])


def too_much(order: Row, refusal: Mapping[str, Any]) -> str:
    """Why a refund is not possible.

    :param refusal: the details of `RefundExceedsRemaining`
    """
    names = {item["product_id"]: item["name"] for item in order["items"] or ()}
    if items := refusal.get("items"):
        return " ".join(
            _left_of(names.get(item["product_id"]) or item["product_id"], item["remaining"]) for item in items
        )
    if left := refusal["remaining_cents"]:
        return f"Only {money(left, order['currency'])} is left to refund."
    return "Nothing is left to refund."


def _left_of(name: str, pieces: int) -> str:
    if pieces == 0:
        return f"No piece of {name} is left to refund."
    if pieces == 1:
        return f"Only 1 piece of {name} is left to refund."
    return f"Only {pieces} pieces of {name} are left to refund."


def refund(order: Row, cents: int, pieces: int, *, restock: bool) -> str:
    """:param pieces: how many go back, 0: none by number"""
    left = money(remaining(order) - cents, order["currency"])
    said = f"Refunds {money(cents, order['currency'])} to the customer; {left} is left."
    if restock and pieces:
        return f"{said} Puts {pieces} {'piece' if pieces == 1 else 'pieces'} back into stock."
    return f"{said} Stock does not change."


def refund_retry(refund: Row, currency: str) -> str:
    if refund["status"] == "REQUESTED":
        return f"Asks the gateway again to refund {money(refund['amount_cents'], currency)}, once."
    return f"{money(refund['amount_cents'], currency)} has been refunded; no more money moves."


def dealt_with(entry: Row) -> str:
    if entry["due_at"]:
        return "Hides the mark until the work fails again. No money moves."
    return "Takes the mark away: the work has ended. No money moves."


def of_job(action: str, counted: dict[str, Any]) -> str:
    """What a job does with the orders that were counted."""
    sums = " and ".join(money(each["amount_cents"], each["currency"]) for each in counted["amounts"]) or "no money"
    number = f"{counted['orders']:,} {'order' if counted['orders'] == 1 else 'orders'}"
    which = f"More than {number}, more than {sums} in all" if counted["is_more"] else f"{number}, {sums} in all"
    if action == "cancel":
        return (
            f"{which}: each that is still open is cancelled. What is held is released, what was charged is refunded."
            " Completed orders are left alone."
        )
    return f"{which}: each that is still open is tried again now. Nothing is charged twice."


def _captured(order: Row) -> int:
    """What is charged and not yet refunded."""
    return sum((each["captured_cents"] or 0) - each["refunded_cents"] for each in order["payments"])


def _held(order: Row) -> int:
    return sum(each["amount_cents"] for each in order["payments"] if each["status"] == "AUTHORIZED")
