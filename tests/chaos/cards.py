"""The buyers' cards: what each gateway knows them as, how many pay with each, and what it refuses."""

from __future__ import annotations

from stripe_double.cards import ASKS_THE_CUSTOMER, DECLINED, PENDING_REFUND, REFUSES_CAPTURE, REFUSES_REFUND

SIMULATED, STRIPE = "simulated", "stripe"
UNKNOWN = "pm_nobody_knows"
TOKENS: dict[str, tuple[tuple[str, int], ...]] = {  # with their percentage of the orders
    SIMULATED: (
        ("tok_visa", 78),
        ("tok_fail_refund", 3),
        ("tok_pending_refund", 3),
        ("tok_fail_capture", 8),
        ("tok_decline_insufficient", 3),
        ("tok_decline_expired", 3),
        ("tok_decline_stolen", 2),
    ),
    STRIPE: (
        ("pm_card_visa", 73),
        (REFUSES_CAPTURE, 6),
        (REFUSES_REFUND, 4),
        (PENDING_REFUND, 8),
        *((token, 1) for token in (*DECLINED, ASKS_THE_CUSTOMER, UNKNOWN)),
    ),
}
REFUSED = {"tok_fail_capture", "tok_decline_insufficient", "tok_decline_expired", "tok_decline_stolen"} | {
    *DECLINED, ASKS_THE_CUSTOMER, REFUSES_CAPTURE, UNKNOWN
}  # fmt: skip
"""Nothing is sold for one of these."""
REFUSING_REFUNDS = {"tok_fail_refund", REFUSES_REFUND}
