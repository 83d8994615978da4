"""The two sagas: their steps, what each step reaches, and what undoes it. One engine walks both. No I/O here.

SALE    AUTHORIZED → ORDER_CREATED → INVENTORY_RESERVED → PAYMENT_CAPTURED → COMPLETED
             └──────────────┴─────────────────┴──────────────────┴→ COMPENSATING → FAILED

REFUND  REQUESTED → PAYMENT_REFUNDED ────────────────→ SUCCEEDED
             └→ FAILED      └→ (restock) RESTOCKED ────────┘
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.refunds import RefundStatus
from domain.states import Status

AnyStatus = Status | RefundStatus


@dataclass(frozen=True)
class Step:
    """One action. Without `undo` and `refused` it only leads forward: it is asked for until it succeeds."""

    at: AnyStatus
    """The saga's status when this step is next."""
    do: str
    reaches: AnyStatus
    undo: tuple[str, ...] = ()
    """The undos of everything done so far, in this order: the customer's money first. A refusal starts them, and so
    does no answer after the last attempt."""
    refused: AnyStatus | None = None
    """The end of a saga whose step was refused before anything was done."""
    each_product: bool = False
    """Whether it is one call, and one checkpoint, for each of the saga's products. Without products it is left out."""


SALE = (
    Step(Status.AUTHORIZED, "create_order", Status.ORDER_CREATED, ("void_payment", "cancel_order")),
    Step(Status.ORDER_CREATED, "reserve_inventory", Status.INVENTORY_RESERVED,
         ("void_payment", "release_inventory", "cancel_order")),
    Step(Status.INVENTORY_RESERVED, "capture_payment", Status.PAYMENT_CAPTURED,
         ("void_payment", "release_inventory", "cancel_order")),
    # The cancel comes first: if the order is already confirmed, only the answer was lost, and the sale stands.
    Step(Status.PAYMENT_CAPTURED, "confirm_order", Status.COMPLETED,
         ("cancel_order", "void_payment", "release_inventory")),
)  # fmt: skip

REFUND = (
    Step(RefundStatus.REQUESTED, "refund_payment", RefundStatus.PAYMENT_REFUNDED, refused=RefundStatus.FAILED),
    Step(RefundStatus.PAYMENT_REFUNDED, "restock", RefundStatus.RESTOCKED, each_product=True),
    Step(RefundStatus.PAYMENT_REFUNDED, "note", RefundStatus.SUCCEEDED),
    Step(RefundStatus.RESTOCKED, "note", RefundStatus.SUCCEEDED),
)
