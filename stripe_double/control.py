"""What tests do to the double: its clock, its faults, its webhooks, and what a bank decides later."""

from __future__ import annotations

import time

from stripe_double import payments
from stripe_double.events import send_to
from stripe_double.store import Object, Store

PENDING = "pending"


def control(store: Store, verb: str, body: Object) -> Object:
    """Do as the verb says.

    :returns: of `look`: the sums of money, and how often each fault was met; of every other verb: nothing
    """
    match verb:
        case "fault":
            store.add_fault(body["operation"], body["kind"], body.get("rate", 1.0), body.get("times"))
        case "end_faults":
            store.end_faults()
        case "advance":
            store.advance(body["seconds"])
            for each in store.all("payment_intent"):
                payments.find(store, each["id"])
        case "forget_keys":
            store.forget_keys(before=store.now() + 1)
        case "end_refunds":
            payments.end_refunds(store, body["status"], body.get("from", PENDING))
        case "allow_refunds":
            payments.allow_refunds(store, body["payment_intent"])
        case "webhook":
            send_to(store, body)
        case "webhooks":
            store.set("webhooks", body)
        case "send_webhooks":
            store.release_webhooks(time.time())
        case "clear":
            store.clear()
        case "look":
            return _sums(store)
    return {}


def _sums(store: Store) -> Object:
    intents = [payments.find(store, each["id"]) for each in store.all("payment_intent")]
    returned = [each for each in store.all("refund") if each["status"] == "succeeded"]
    return {
        "intents": len(intents),
        "held": sum(each["amount_capturable"] for each in intents),
        "captured": sum(each["amount_received"] for each in intents),
        "refunded": sum(each["amount"] for each in returned),
        "faults": store.setting("faults met"),
    }
