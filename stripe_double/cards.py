"""The payment methods that the double knows, by the names that Stripe gives to its own test cards."""

from __future__ import annotations

# Payment method → code and decline code of the error.
DECLINED = {
    "pm_card_visa_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedLostCard": ("card_declined", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": ("card_declined", "stolen_card"),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", "expired_card"),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", "incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", "processing_error"),
}
ASKS_THE_CUSTOMER = "pm_card_authenticationRequired"
PENDING_REFUND = "pm_card_pendingRefund"
REFUSES_REFUND = "pm_card_doubleRefusesRefunds"
"""Not one of Stripe's: a dispute, or an account without the balance, refuses the refund of a real card."""
REFUSES_CAPTURE = "pm_card_doubleRefusesCapture"
"""Not one of Stripe's either: the bank refuses to pay what it has held."""
ACCEPTED = {"pm_card_visa", "pm_card_mastercard", ASKS_THE_CUSTOMER, PENDING_REFUND, REFUSES_REFUND, REFUSES_CAPTURE}
KNOWN = ACCEPTED | set(DECLINED)
