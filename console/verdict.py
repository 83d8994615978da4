"""Whether the books of all services agree about one order. Each rule is one of the audit's, for a single order.

A saga may be one call ahead of the ledger: the participant has done a step, and the ledger has not heard of it. So an
order whose saga is running is allowed the state before and after its current step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from common.database.database import Row
from console.formats import money, short
from domain.refunds import FAILED_LATER
from domain.states import Status

CAPTURES = (Status.INVENTORY_RESERVED, Status.PAYMENT_CAPTURED)
"""From here on the payment may be captured."""
# What the orders service may hold. None: no order.
UNTIL_CONFIRMED: dict[str, tuple[str | None, ...]] = {
    Status.AWAITING_AUTHORIZATION: (None,),
    Status.AUTHORIZATION_FAILED: (None,),
    Status.AUTHORIZED: (None, "CREATED"),
    Status.ORDER_CREATED: ("CREATED",),
    Status.INVENTORY_RESERVED: ("CREATED",),
    Status.PAYMENT_CAPTURED: ("CREATED", "CONFIRMED"),
    Status.COMPLETED: ("CONFIRMED",),
}
HOLDS_NOTHING = ("DECLINED", "VOIDED", "REFUNDED")
RUNNING = (Status.AUTHORIZED, Status.ORDER_CREATED, Status.INVENTORY_RESERVED, Status.PAYMENT_CAPTURED)


def verdict_on(order: Row) -> dict[str, Any]:
    """`{"agrees", "checks": [{"about", "ledger", "participant", "agrees"}]}`: what each side says."""
    checks = [check for rule in RULES for check in rule(order)]
    return {"agrees": all(check["agrees"] for check in checks), "checks": checks}


def _check(about: str, ledger: str, participant: str, agrees: bool) -> dict[str, Any]:
    return {"about": about, "ledger": ledger, "participant": participant, "agrees": agrees}


def _in(order: Row, cents: int) -> str:
    return money(cents, order["currency"])


def _money(order: Row) -> Iterator[dict[str, Any]]:
    status, total = order["status"], order["total_amount_cents"]
    payment = order["payments"][0] if order["payments"] else None
    if payment is None or payment["amount_cents"] is None:
        believes = status in (*RUNNING, Status.COMPLETED)
        yield _check("payment", "held or captured" if believes else "none", "none", not believes)
        return
    captured, refunded = payment["captured_cents"] or 0, payment["refunded_cents"]
    said = f"{payment['status'].lower()}, captured {_in(order, captured)}, refunded {_in(order, refunded)}"
    match status:
        case Status.COMPLETED:
            lowest = order["refunded_cents"] - _failed_later(order)
            fits = captured == total and lowest <= refunded <= order["refund_reserved_cents"]
            believed = f"captured {_in(order, total)}, refunded {_in(order, order['refunded_cents'])}"
            yield _check("payment", believed, said, fits)
        case Status.FAILED | Status.AUTHORIZATION_FAILED:
            yield _check("payment", "nothing held or kept", said, _keeps_nothing(payment))
        case Status.COMPENSATING if "void_payment" in order["undone"]:
            yield _check("payment", "given back", said, _keeps_nothing(payment))
        case Status.COMPENSATING if order["compensating_from"] not in CAPTURES:
            yield _check("payment", "held or given back, not captured", said, captured == 0)
        case Status.PAYMENT_CAPTURED:
            yield _check("payment", f"captured {_in(order, total)}", said, captured == total and refunded == 0)
        case Status.INVENTORY_RESERVED:  # the capture is on its way
            yield _check("payment", f"held {_in(order, total)}, capture asked for", said, captured in (0, total))
        case Status.AUTHORIZED | Status.ORDER_CREATED:
            yield _check("payment", f"held {_in(order, total)}", said, payment["status"] == "AUTHORIZED")
        case _:
            yield _check("payment", "being decided", said, True)
    yield from _identity(order, payment)
    yield from _movements(order, payment)


def _keeps_nothing(payment: dict[str, Any]) -> bool:
    """Whether all was given back. What the gateway failed to give back afterwards needs attention elsewhere."""
    given_back = payment["refunded_cents"] + _sum_of(payment["refunds"], "FAILED")
    kept = (payment["captured_cents"] or 0) - given_back
    return kept == 0 and (payment["status"] in HOLDS_NOTHING or given_back > 0)


def _identity(order: Row, payment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Whether it is this order's payment."""
    known, believed = order["payment_authorization_id"], (order["total_amount_cents"], order["currency"])
    if known not in (None, payment["id"]):
        yield _check("payment's id", known, payment["id"], False)
    if (payment["amount_cents"], payment["currency"]) != believed:
        yield _check("payment's amount", money(*believed), money(payment["amount_cents"], payment["currency"]), False)


def _movements(order: Row, payment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the payments service counts of its refunds, and whether each was asked for."""
    sums = [_sum_of(payment["refunds"], status) for status in ("REFUNDED", "PENDING")]
    if sums != [payment["refunded_cents"], payment["pending_refund_cents"]]:
        refunded, pending = _in(order, payment["refunded_cents"]), _in(order, payment["pending_refund_cents"])
        believed = f"its refunds: {_in(order, sums[0])}, pending {_in(order, sums[1])}"
        yield _check("payment's sums", believed, f"refunded {refunded}, pending {pending}", False)
    asked = {f"refund:{id_}" for id_ in (order["order_ledger_id"], *(each["refund_id"] for each in order["refunds"]))}
    for each in payment["refunds"]:
        if each["key"] not in asked:
            yield _check("payment's refund", "not asked for", _in(order, each["amount_cents"]), False)


def _sum_of(refunds: list[dict[str, Any]], status: str) -> int:
    return sum(each["amount_cents"] for each in refunds if each["status"] == status)


def _failed_later(order: Row) -> int:
    """Refunds that the gateway has failed after the ledger had counted them."""
    return sum(
        refund["amount_cents"]
        for refund in order["refunds"]
        if refund["status"] == "SUCCEEDED" and (refund["payment"] or {}).get("status") == "FAILED"
    )


def _order(order: Row) -> Iterator[dict[str, Any]]:
    found = order["orders"][0] if order["orders"] else None
    allowed = _order_may_be(order)
    expected = " or ".join((each or "none").lower() for each in allowed)
    said = " and ".join(each["status"].lower() for each in order["orders"]) or "none"
    fits = len(order["orders"]) < 2 and (found["status"] if found else None) in allowed
    yield _check("order", expected, said, fits)
    if found and found["total_amount_cents"] is not None:  # null: a refusal of an order that never came
        yield from _content(order, found)


def _order_may_be(order: Row) -> tuple[str | None, ...]:
    if order["status"] in UNTIL_CONFIRMED:
        return UNTIL_CONFIRMED[order["status"]]
    if order["status"] == Status.FAILED or "cancel_order" in order["undone"]:
        return (None, "CANCELLED")
    confirmed = ("CONFIRMED",) if order["compensating_from"] == Status.PAYMENT_CAPTURED else ()
    return (None, "CREATED", *confirmed, "CANCELLED")


def _content(order: Row, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    believed = (order["total_amount_cents"], order["currency"])
    held = (found["total_amount_cents"], found["currency"])
    if believed != held:
        yield _check("order's amount", money(*believed), money(*held), False)
    if order["order_id"] not in (None, found["id"]):
        yield _check("order's id", order["order_id"], found["id"], False)


def _stock(order: Row) -> Iterator[dict[str, Any]]:
    status = order["status"]
    reserved = {each["product_id"]: each["quantity"] for each in order["reservations"] if not each["released_at"]}
    ordered = {item["product_id"]: item["quantity"] for item in order["items"] or ()}
    said = f"{sum(reserved.values())} reserved"
    if status == Status.COMPLETED:
        yield _check("stock", f"{sum(ordered.values())} sold", f"{sum(reserved.values())} sold", reserved == ordered)
    elif status in (Status.INVENTORY_RESERVED, Status.PAYMENT_CAPTURED):
        yield _check("stock", f"{sum(ordered.values())} reserved", said, reserved == ordered)
    elif status in (Status.FAILED, Status.AUTHORIZATION_FAILED, Status.AWAITING_AUTHORIZATION, Status.AUTHORIZED):
        yield _check("stock", "0 reserved", said, not reserved)
    elif status == Status.COMPENSATING and "release_inventory" in order["undone"]:
        yield _check("stock", "given back", said, not reserved)
    else:  # the reservation is on its way, or being undone
        yield _check("stock", f"0 or {sum(ordered.values())} reserved", said, reserved in ({}, ordered))


def _refunds(order: Row) -> Iterator[dict[str, Any]]:
    for refund in order["refunds"]:
        payment = refund["payment"]
        said = f"{payment['status'].lower()} {_in(order, payment['amount_cents'])}" if payment else "none"
        match refund["status"]:
            case "REQUESTED":
                fits = payment is None or payment["status"] in ("PENDING", "REFUNDED")
            case "FAILED":
                fits = payment is None or payment["status"] == "FAILED"
            case _:
                fits = payment is not None and payment["status"] in ("REFUNDED", "FAILED")
        if payment:
            is_ours = payment["authorization_id"] == order["payment_authorization_id"]
            fits = fits and is_ours and payment["amount_cents"] == refund["amount_cents"]
        about = f"refund {short(refund['refund_id'])}"
        yield _check(about, f"{refund['status'].lower()} {_in(order, refund['amount_cents'])}", said, fits)


def _restocks(order: Row) -> Iterator[dict[str, Any]]:
    """The pieces of refunds that go back into stock."""
    for refund in order["refunds"]:
        pieces = {item["product_id"]: (item["quantity"], item["put_back"]) for item in refund["items"]}
        if not refund["restock"] or not pieces:
            continue
        noted = sum(quantity for product, (quantity, _) in pieces.items() if product in refund["restocked"])
        fits = all(put_back in _may_be_back(refund, product, of) for product, (of, put_back) in pieces.items())
        believed = f"{noted} of {sum(of for of, _ in pieces.values())} put back"
        said = f"{sum(put_back for _, put_back in pieces.values())} put back"
        yield _check(f"restock {short(refund['refund_id'])}", believed, said, fits)


def _may_be_back(refund: dict[str, Any], product: str, quantity: int) -> tuple[int, ...]:
    """How many pieces of a product may have gone back: a call may be one ahead of the ledger, and its answer lost."""
    if product in refund["restocked"]:
        return (quantity,)
    if product in refund["not_restocked"] or refund["status"] == "PAYMENT_REFUNDED":
        return (0, quantity)
    return () if refund["status"] in ("RESTOCKED", "SUCCEEDED") else (0,)


def _sums(order: Row) -> Iterator[dict[str, Any]]:
    """What the order counts of its refunds."""
    returned = sum(refund["amount_cents"] for refund in order["refunds"] if refund["status"] == "SUCCEEDED")
    reserved = sum(refund["amount_cents"] for refund in order["refunds"] if refund["status"] != "FAILED")
    if order["refunds"] or order["refund_reserved_cents"]:
        fits = (returned, reserved) == (order["refunded_cents"], order["refund_reserved_cents"])
        fits = fits and order["status"] == Status.COMPLETED
        said = f"its refunds: {_in(order, returned)}"
        yield _check("sums", f"refunded {_in(order, order['refunded_cents'])}", said, fits)


def _pieces(order: Row) -> Iterator[dict[str, Any]]:
    """What each line counts of its refunded pieces. A refund that failed after it had succeeded still counts."""
    counted: Counter[str] = Counter()
    for refund in order["refunds"]:
        if refund["status"] != "FAILED" or refund["failure_code"] == FAILED_LATER:
            counted.update({item["product_id"]: item["quantity"] for item in refund["items"]})
    for item in order["items"] or ():
        said, refunded = counted[item["product_id"]], item["refunded_quantity"]
        if said != refunded:
            about = f"pieces of {item['name'] or item['product_id']}"
            yield _check(about, f"{refunded} refunded", f"its refunds: {said}", False)


RULES: tuple[Callable[[Row], Iterator[dict[str, Any]]], ...] = (
    _money,
    _order,
    _stock,
    _refunds,
    _restocks,
    _sums,
    _pieces,
)
