"""PaymentIntents and refunds: what each call does to them."""

from __future__ import annotations

import secrets
from typing import Any

from stripe_double import cards
from stripe_double.errors import Refusal, declined, invalid, missing, unexpected_state
from stripe_double.events import tell
from stripe_double.store import Object, Store

Params = dict[str, Any]
HOLD_S = 7 * 86_400
LARGEST_AMOUNT = 99_999_999
PAGE = {"limit", "starting_after"}
PARAMS: dict[str, set[str]] = {
    "create": {"amount", "currency", "capture_method", "allowed_payment_method_types", "description", "metadata"},
    "retrieve": {"expand"},
    "confirm": {"payment_method", "error_on_requires_action", "expand"},
    "capture": {"amount_to_capture"},
    "cancel": {"cancellation_reason"},
    "refund": {"payment_intent", "amount", "metadata", "reason"},
    "list": {"created", *PAGE},
    "list_refunds": {"created", "payment_intent", *PAGE},
}
"""What each call may be sent. Stripe refuses anything else, and so does the double."""
SMALLEST = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}
"""The smallest amounts of some currencies, in their smallest unit."""
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")


def create(store: Store, params: Params) -> Object:
    amount, currency = int(params["amount"]), params["currency"].lower()
    if currency not in SMALLEST:
        raise invalid(f"Invalid currency: {currency}.", param="currency")
    if amount < SMALLEST[currency]:
        raise invalid("Amount is below the minimum.", code="amount_too_small", param="amount")
    if amount > LARGEST_AMOUNT:
        raise invalid("Amount is above the maximum.", code="amount_too_large", param="amount")
    id_ = f"pi_{secrets.token_hex(12)}"
    intent: Object = {
        "id": id_,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "cancellation_reason": None,
        "canceled_at": None,
        "capture_method": params.get("capture_method", "automatic"),
        "client_secret": f"{id_}_secret_{secrets.token_hex(12)}",
        "confirmation_method": "automatic",
        "created": store.now(),
        "currency": currency,
        "description": params.get("description"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": params.get("metadata", {}),
        "next_action": None,
        "payment_method": None,
        "payment_method_types": params.get("allowed_payment_method_types", ["card"]),
        "status": "requires_payment_method",
    }
    return store.save(intent)


def confirm(store: Store, params: Params, id_: str) -> Object:
    intent = find(store, id_)
    if intent["status"] not in OPEN[:2]:
        raise unexpected_state(intent, "confirm")
    method = params["payment_method"]
    if method not in cards.KNOWN:
        raise missing("PaymentMethod", method, "payment_method")
    if method in cards.DECLINED:
        raise _failed(store, intent, *cards.DECLINED[method])
    if method == cards.ASKS_THE_CUSTOMER:
        if params.get("error_on_requires_action") == "true":
            raise _failed(store, intent, "authentication_required", "authentication_required")
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        return store.save(intent | {"status": "requires_action", "payment_method": method, "next_action": action})
    charge = store.save(_charge(store, intent, method))
    held = {"status": "requires_capture", "amount_capturable": intent["amount"]}
    intent = store.save(intent | held | {"payment_method": method, "latest_charge": charge["id"]})
    return tell(store, "payment_intent.amount_capturable_updated", intent)


def capture(store: Store, params: Params, id_: str) -> Object:
    intent = find(store, id_)
    if intent["status"] != "requires_capture":
        raise unexpected_state(intent, "capture")
    amount = int(params.get("amount_to_capture") or intent["amount_capturable"])
    if amount > intent["amount_capturable"]:
        raise invalid("The amount is larger than what is held.", code="amount_too_large", param="amount_to_capture")
    if intent["payment_method"] == cards.REFUSES_CAPTURE:
        raise declined(intent, "card_declined", "generic_decline")
    charge = store.find(intent["latest_charge"]) or {}
    store.save(charge | {"captured": True, "amount_captured": amount, "payment_method_details": _details()})
    intent = store.save(intent | {"status": "succeeded", "amount_capturable": 0, "amount_received": amount})
    return tell(store, "payment_intent.succeeded", intent)


def cancel(store: Store, params: Params, id_: str) -> Object:
    intent = find(store, id_)
    if intent["status"] not in OPEN:
        raise unexpected_state(intent, "cancel")
    return _canceled(store, intent, params.get("cancellation_reason"))


def retrieve(store: Store, _: Params, id_: str) -> Object:
    return find(store, id_)


def find(store: Store, id_: str) -> Object:
    """A PaymentIntent, whose hold ends by itself after seven days."""
    intent = store.find(id_)
    if intent is None or intent["object"] != "payment_intent":
        raise missing("payment_intent", id_, "id")
    charge = store.find(intent["latest_charge"]) if intent["latest_charge"] else None
    if intent["status"] == "requires_capture" and charge and store.now() >= charge["created"] + HOLD_S:
        return _canceled(store, intent, "automatic")
    return intent


def expanded(store: Store, intent: Object, names: list[str]) -> Object:
    """The PaymentIntent with the objects in the place of their ids. Stripe can expand more than the double."""
    return intent | {name: store.find(intent[name]) if intent[name] else None for name in names}


def refund(store: Store, params: Params) -> Object:
    intent = find(store, params["payment_intent"])
    charge = store.find(intent["latest_charge"]) if intent["latest_charge"] else None
    if intent["status"] != "succeeded" or charge is None:
        raise invalid("This PaymentIntent has no successful charge to refund.", param="payment_intent")
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = int(params.get("amount", left))
    if left == 0:
        raise invalid("The charge has already been refunded.", code="charge_already_refunded")
    if amount > left:
        raise invalid(f"Refund amount is greater than unrefunded amount on charge ({left}).", param="amount")
    if intent["payment_method"] == cards.REFUSES_REFUND:
        raise invalid("The charge has been disputed.", code="charge_disputed")
    made: Object = {
        "id": f"re_{secrets.token_hex(12)}",
        "object": "refund",
        "amount": amount,
        "charge": charge["id"],
        "created": store.now(),
        "currency": intent["currency"],
        "metadata": params.get("metadata", {}),
        "payment_intent": intent["id"],
        "reason": params.get("reason"),
        "status": "pending" if intent["payment_method"] == cards.PENDING_REFUND else "succeeded",
    }
    store.save(made)
    _count_refunds(store, charge)
    return tell(store, "refund.created", made)


def retrieve_refund(store: Store, _: Params, id_: str) -> Object:
    found = store.find(id_)
    if found is None or found["object"] != "refund":
        raise missing("refund", id_, "id")
    return found


def intents(store: Store, params: Params) -> Object:
    found = [find(store, each["id"]) for each in store.all("payment_intent")]
    return _page(found, params, "/v1/payment_intents")


def refunds(store: Store, params: Params) -> Object:
    of = params.get("payment_intent")
    found = store.refunds_of(of) if of else store.all("refund")
    return _page(found, params, "/v1/refunds")


def end_refunds(store: Store, status: str, from_: str = "pending") -> None:
    """Settle every refund of a status, or let it fail. A refund that has succeeded can fail days later."""
    for each in store.all("refund"):
        if each["status"] == from_:
            failure = {"failure_reason": "unknown", "failure_balance_transaction": f"txn_{secrets.token_hex(12)}"}
            ended = store.save(each | {"status": status, **(failure if status == "failed" else {})})
            _count_refunds(store, store.find(each["charge"]) or {})
            tell(store, "refund.updated", ended)
            if status == "failed":
                tell(store, "refund.failed", ended)


def allow_refunds(store: Store, id_: str) -> None:
    """Let a payment that refuses its refunds take them from now on."""
    store.save(find(store, id_) | {"payment_method": "pm_card_visa"})
    store.forget_refusals(about=id_)


def _count_refunds(store: Store, charge: Object) -> None:
    made = [each for each in store.refunds_of(charge["payment_intent"]) if each["status"] not in ("failed", "canceled")]
    returned = sum(each["amount"] for each in made)
    store.save(charge | {"amount_refunded": returned, "refunded": returned == charge["amount_captured"]})


def _page(found: list[Object], params: Params, url: str) -> Object:
    created = params.get("created", {})
    span = int(created.get("gte", 0)), int(created.get("lt", 2**62))
    found = [each for each in found if span[0] <= each["created"] < span[1]]
    ids = [each["id"] for each in found]
    start = ids.index(params["starting_after"]) + 1 if params.get("starting_after") in ids else 0
    limit = int(params.get("limit", 10))
    page = found[start : start + limit]
    return {"object": "list", "data": page, "has_more": len(found) > start + limit, "url": url}


def _canceled(store: Store, intent: Object, reason: str | None) -> Object:
    if charge := store.find(intent["latest_charge"]) if intent["latest_charge"] else None:
        store.save(charge | {"payment_method_details": _details()})
    ended = {"status": "canceled", "amount_capturable": 0, "canceled_at": store.now(), "cancellation_reason": reason}
    return tell(store, "payment_intent.canceled", store.save(intent | ended))


def _failed(store: Store, intent: Object, code: str, decline_code: str) -> Refusal:
    error = {"type": "card_error", "code": code, "decline_code": decline_code, "message": "It was declined."}
    intent = store.save(intent | {"status": "requires_payment_method", "last_payment_error": error})
    tell(store, "payment_intent.payment_failed", intent)
    return declined(intent, code, decline_code)


def _charge(store: Store, intent: Object, method: str) -> Object:
    address = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}
    return {
        "id": f"ch_{secrets.token_hex(12)}",
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "billing_details": {"address": address, "email": None, "name": None, "phone": None, "tax_id": None},
        "captured": False,
        "created": store.now(),
        "currency": intent["currency"],
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": method,
        "payment_method_details": _details(capture_before=store.now() + HOLD_S),
        "refunded": False,
        "status": "succeeded",
    }


def _details(**more: int) -> Object:
    card = {"brand": "visa", "exp_month": 12, "exp_year": 2040, "funding": "credit", "last4": "4242", **more}
    return {"type": "card", "card": card}
