"""The states of a refund and the moves between them, its reasons, and the keys of its calls."""

import uuid
from enum import StrEnum


class RefundStatus(StrEnum):
    REQUESTED = "REQUESTED"
    PAYMENT_REFUNDED = "PAYMENT_REFUNDED"
    RESTOCKED = "RESTOCKED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_terminal(self) -> bool:
        """Whether its saga has ended. The gateway may still fail a refund that has succeeded."""
        return self in (RefundStatus.SUCCEEDED, RefundStatus.FAILED)


# The database refuses every other move (by a trigger in the migrations); a test compares the two.
# PAYMENT_REFUNDED → itself: the pieces of one more product are back in stock. SUCCEEDED → FAILED: the gateway has taken
# the money back to the shop, days later.
LEGAL_MOVES: dict[RefundStatus, frozenset[RefundStatus]] = {
    RefundStatus.REQUESTED: frozenset({RefundStatus.PAYMENT_REFUNDED, RefundStatus.FAILED}),
    RefundStatus.PAYMENT_REFUNDED: frozenset(
        {RefundStatus.PAYMENT_REFUNDED, RefundStatus.RESTOCKED, RefundStatus.SUCCEEDED}
    ),
    RefundStatus.RESTOCKED: frozenset({RefundStatus.SUCCEEDED}),
    RefundStatus.SUCCEEDED: frozenset({RefundStatus.FAILED}),
    RefundStatus.FAILED: frozenset(),
}

PENDING = "PENDING"
PUBLIC_STATUSES = (PENDING, RefundStatus.SUCCEEDED.value, RefundStatus.FAILED.value)
"""The states that a client sees. Every state that is not terminal is PENDING."""

CHANNEL = "refund_events"
FAILED_LATER = "refund_failed_later"
"""The failure code of a refund that had succeeded."""

REASONS = ("requested_by_customer", "duplicate", "fraudulent", "out_of_stock", "other")
"""Why a shop refunds or cancels an order."""


def payment_key(refund_id: str) -> str:
    """Return the idempotency key with which a refund's money is refunded."""
    return f"refund:{refund_id}"


def refund_of_payment_key(key: str) -> str | None:
    """The id of the refund whose money has this key. None: it is not our key."""
    try:
        return str(uuid.UUID(key.removeprefix("refund:"))) if key.startswith("refund:") else None
    except ValueError:
        return None


def restock_key(refund_id: str, product_id: str) -> str:
    """Return the idempotency key with which a refund's pieces of a product go back into stock."""
    return f"restock:{refund_id}:{product_id}"
