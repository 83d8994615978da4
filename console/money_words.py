"""What an order has done with its customer's money, in one sentence."""

from __future__ import annotations

from common.database.database import Row
from console.formats import money
from domain.states import Status

NOTHING = "Nothing was charged."


def told(order: Row) -> str:
    """By the books of the payments service, whatever the ledger believes."""
    payment = order["payments"][0] if order["payments"] else None
    if payment is None or payment["amount_cents"] is None:
        return "No payment was made."
    captured, refunded = payment["captured_cents"] or 0, payment["refunded_cents"] or 0
    if captured:
        is_undone = order["status"] == Status.COMPENSATING and not refunded
        said = _charged(captured, refunded, order["currency"])
        return f"{said} The undoing of the sale returns it." if is_undone else said
    return _not_charged(order["status"], payment["status"], money(payment["amount_cents"], order["currency"]))


def _not_charged(status: str, payment_status: str, amount: str) -> str:
    match payment_status:
        case "DECLINED":
            return f"The payment of {amount} was declined. {NOTHING}"
        case "VOIDED":
            return f"The hold of {amount} was released. {NOTHING}"
        case "AUTHORIZED" if status in (Status.FAILED, Status.AUTHORIZATION_FAILED):
            return f"{amount} is still held, and should not be. {NOTHING}"
        case "AUTHORIZED" if status == Status.COMPENSATING:
            return f"{amount} is held until the sale is undone. {NOTHING}"
    return f"{amount} is held for the customer. Nothing is charged yet."


def _charged(captured: int, refunded: int, currency: str) -> str:
    said = f"{money(captured, currency)} was charged"
    if not refunded:
        return f"{said}."
    if refunded == captured:
        return f"{said}, and all of it was returned."
    return f"{said}, and {money(refunded, currency)} of it was returned."
