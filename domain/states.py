"""The states of a ledger entry and the moves between them, as the Edge API and the orchestrator use them."""

from enum import StrEnum


class Status(StrEnum):
    AWAITING_AUTHORIZATION = "AWAITING_AUTHORIZATION"
    AUTHORIZED = "AUTHORIZED"
    AUTHORIZATION_FAILED = "AUTHORIZATION_FAILED"
    ORDER_CREATED = "ORDER_CREATED"
    INVENTORY_RESERVED = "INVENTORY_RESERVED"
    PAYMENT_CAPTURED = "PAYMENT_CAPTURED"
    COMPLETED = "COMPLETED"
    COMPENSATING = "COMPENSATING"
    FAILED = "FAILED"

    @property
    def is_terminal(self) -> bool:
        return not LEGAL_MOVES[self]


# The database refuses every other move (by a trigger in the migrations); a test compares the two.
# COMPENSATING → itself: one more undo is done. COMPENSATING → COMPLETED: the order turned out to be confirmed.
LEGAL_MOVES: dict[Status, frozenset[Status]] = {
    Status.AWAITING_AUTHORIZATION: frozenset({Status.AUTHORIZED, Status.AUTHORIZATION_FAILED}),
    Status.AUTHORIZED: frozenset({Status.ORDER_CREATED, Status.COMPENSATING}),
    Status.ORDER_CREATED: frozenset({Status.INVENTORY_RESERVED, Status.COMPENSATING}),
    Status.INVENTORY_RESERVED: frozenset({Status.PAYMENT_CAPTURED, Status.COMPENSATING}),
    Status.PAYMENT_CAPTURED: frozenset({Status.COMPLETED, Status.COMPENSATING}),
    Status.COMPENSATING: frozenset({Status.COMPENSATING, Status.COMPLETED, Status.FAILED}),
    Status.AUTHORIZATION_FAILED: frozenset(),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
}

CHANNEL = "order_events"

CANCELLED = "cancelled"
"""The failure code of an order that its client cancelled."""

ABANDONED = "abandoned"
"""The failure code of a request whose client never returned. It is saved before the void is sent. From then on the
entry cannot become a sale, even if an answer arrives late."""

HOLD_ENDS = "the gateway ends the hold of the payment at"
"""The beginning of the reason why an order needs attention before a remote gateway ends its hold."""


def authorize_key(order_ledger_id: str) -> str:
    """Return the idempotency key with which an entry's payment is authorized, and by which it can be voided."""
    return f"authorize:{order_ledger_id}"
