"""The calls of a refund. Its money first, then its pieces, one call for each product."""

from __future__ import annotations

from common.calls.client import Answer, No, Nothing, Yes
from domain.refunds import payment_key, restock_key
from orchestrator.calls import Calls
from orchestrator.saga import Pending, Refund

# The refusals that say that no money was refunded under this key, and none will be.
REFUSALS = frozenset({"refund_declined", "already_voided", "authorization_not_found", "invalid_status_transition"})


def refund_payment(payments: Calls, refund: Refund) -> Answer | Pending:
    """Refund the money, under a key of its own. The gateway may accept that and decide later."""
    answer = payments.ask(
        "POST",
        f"/payments/refund/{refund.payment_authorization_id}",
        {"idempotency_key": payment_key(refund.id), "amount_cents": refund.amount_cents, "reason": "refund"},
        refusals=REFUSALS,
        is_yes=lambda refunded: (
            refunded["status"] in ("REFUNDED", "PENDING")
            and refunded["authorization_id"] == refund.payment_authorization_id
            and refunded["amount_cents"] == refund.amount_cents
        ),
    )
    if isinstance(answer, No) and answer.code not in REFUSALS:
        # We built the request, so a "bad request" means that two releases disagree. An earlier try may have succeeded.
        return Nothing(f"payments: {answer.code}: {answer.message}")
    return pending_or(answer)


def pending_or(answer: Answer) -> Answer | Pending:
    """A refund that the gateway has not settled yet, or the answer as it is."""
    if isinstance(answer, Yes) and answer.body["status"] == "PENDING":
        return Pending("the gateway has not settled the refund yet")
    return answer


def restock(inventory: Calls, refund: Refund) -> Answer:
    """Put the pieces of the next product back into stock."""
    product = refund.next_product
    (quantity,) = (item["quantity"] for item in refund.items if item["product_id"] == product)
    return inventory.ask(
        "POST",
        f"/inventory/products/{product}/stock",
        {"quantity": quantity, "reason": "return_to_stock", "reference_id": refund.id},
        key=restock_key(refund.id, product),
        refusals=frozenset({"product_not_found"}),
        is_yes=lambda changed: changed["product_id"] == product and changed["added_quantity"] == quantity,
    )
