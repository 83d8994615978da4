"""Stripe as a gateway: a hold is a PaymentIntent that is created, then confirmed, and captured by hand.

Stripe forgets an idempotency key after 24 hours. Nothing here depends on that, except a refund's first answer: every
other request names a PaymentIntent, which Stripe confirms, captures or cancels at most once. Where a request is refused
because of the PaymentIntent's state, its state is read, and that is the answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import stripe

from domain.money import CURRENCIES
from payments_service.gateways import stripe_lists
from payments_service.gateways.seam import Found, No, Nothing, Page, Pending, Row, Span, Yes, is_time_for

log = logging.getLogger(__name__)
logging.getLogger("stripe").setLevel(logging.WARNING)  # at INFO it logs messages that repeat payment tokens

# To connect, and until the answer: of a request that only writes, and of one that may ask the customer's bank.
QUICK_S, BANK_S = (1.0, 1.5), (1.0, 4.0)
KEY_IS_SURE_S = 23 * 3600  # Stripe keeps a key for 24 hours at least
ALARM_EVERY_S = 60.0
LARGEST_AMOUNT = 99_999_999  # eight digits
SMALLEST_AMOUNTS = {
    "AED": 200, "AUD": 50, "BGN": 100, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30,
    "HKD": 400, "HUF": 17_500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PLN": 200,
    "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50,
}  # fmt: skip
OTHER_UNIT = {"ISK", "MGA", "UGX"}
"""Stripe's smallest unit of these is not that of ISO 4217, so an amount would be another one there."""
THREE_DECIMALS = {"BHD", "JOD", "KWD", "OMR", "TND"}
"""The last digit of these must be 0."""
HOLD_ENDED = {"automatic": "hold_expired"}
UNREADABLE = (AttributeError, LookupError, OSError, OverflowError, TypeError, ValueError)
"""What an answer of another form than published raises."""
WITH_CHARGE = ["latest_charge"]  # it says when the hold ends
# What refuses a refund for good. Any other request that Stripe finds wrong is our mistake.
REFUND_REFUSED = {"charge_already_refunded", "charge_disputed", "refund_disputed_payment"}
Intent = dict[str, Any]


class _Api(NamedTuple):
    v1: Any
    longest_s: float
    """How long one request can take."""


class StripeGateway:
    name = "stripe"

    def __init__(self, key: str, base: str) -> None:
        self._quick, self._bank = (_Api(_client(key, base, each).v1, sum(each)) for each in (QUICK_S, BANK_S))
        self._alarm_at = 0.0

    def open(self, payment: Row) -> Yes | No | Nothing:
        if code := refused_amount(payment["amount_cents"], payment["currency"]):
            return No(code)
        made = self._ask(
            self._quick,
            lambda v1: v1.payment_intents.create(
                {
                    "amount": payment["amount_cents"],
                    "currency": payment["currency"].lower(),
                    "capture_method": "manual",
                    "allowed_payment_method_types": ["card"],
                    "metadata": {
                        "holdfast_key": payment["authorization_key"],
                        "holdfast_authorization": payment["authorization_id"],
                    },
                },
                {"idempotency_key": f"open:{payment['authorization_id']}"},
            ),
        )
        if isinstance(made, stripe.InvalidRequestError) and made.code in ("amount_too_small", "amount_too_large"):
            return No(made.code)
        if isinstance(made, stripe.InvalidRequestError) and _param(made) == "currency":
            return No("currency_not_supported")
        if isinstance(made, stripe.StripeError):
            return self._unexpected(made)
        if isinstance(made, Nothing):
            return made
        return Yes({"gateway_id": made["id"]}) if isinstance(made.get("id"), str) else _unreadable()

    def authorize(self, payment: Row, token: str) -> Yes | No | Nothing:
        done = self._ask(
            self._bank,
            lambda v1: v1.payment_intents.confirm(
                payment["gateway_id"],
                {"payment_method": token, "error_on_requires_action": True, "expand": WITH_CHARGE},
                {"idempotency_key": f"hold:{payment['authorization_id']}"},
            ),
        )
        match done:
            case stripe.CardError():
                return No(_decline_code(done))
            case stripe.InvalidRequestError() if _param(done).startswith("payment_method"):
                return No("invalid_payment_method")
        return self._truth(payment, done, self._held)

    def _held(self, payment: Row, intent: Intent) -> Yes | No | Nothing:
        match intent["status"]:
            case "requires_capture" if intent["amount_capturable"] == payment["amount_cents"]:
                return Yes({"capture_before": _capture_before(intent)})
            case "requires_action":  # nobody is there to act. The customer must not be able to hold it later.
                ended = self.void(payment)
                return ended if isinstance(ended, Nothing) else No("authentication_required")
            case "canceled":
                return No(HOLD_ENDED.get(intent["cancellation_reason"] or "", "hold_canceled"))
        return Nothing(f"the PaymentIntent is {intent['status']}")

    def capture(self, payment: Row, amount_cents: int) -> Yes | No | Nothing:
        def captured(_: Row, intent: Intent) -> Yes | No | Nothing:
            match intent["status"]:
                case "succeeded" if intent["amount_received"] == amount_cents:
                    return Yes()
                case "canceled":
                    return No(HOLD_ENDED.get(intent["cancellation_reason"] or "", "hold_canceled"))
            return Nothing(f"the PaymentIntent is {intent['status']}")

        done = self._ask(
            self._bank,
            lambda v1: v1.payment_intents.capture(
                payment["gateway_id"],
                {"amount_to_capture": amount_cents},
                {"idempotency_key": f"capture:{payment['authorization_id']}"},
            ),
        )
        if isinstance(done, stripe.CardError):
            return No(_decline_code(done))
        return self._truth(payment, done, captured)

    def void(self, payment: Row) -> Yes | No | Nothing:
        """Without an idempotency key: with one, Stripe would repeat an earlier refusal, whatever happened since."""

        def voided(_: Row, intent: Intent) -> Yes | No | Nothing:
            match intent["status"]:
                case "canceled":
                    return Yes()
                case "succeeded":
                    return No("already_captured", captured_cents=intent["amount_received"])
            return Nothing(f"the PaymentIntent is {intent['status']}")

        done = self._ask(
            self._bank,
            lambda v1: v1.payment_intents.cancel(payment["gateway_id"], {"cancellation_reason": "abandoned"}),
        )
        return self._truth(payment, done, voided)

    def refund(self, payment: Row, refund: Row) -> Yes | No | Pending | Nothing:
        if refund["gateway_id"]:
            return self.refund_state(payment, refund)
        if refund["age_s"] > KEY_IS_SURE_S and (known := self._find_refund(payment, refund)) is not None:
            return self._returned(known)
        made = self._ask(
            self._bank,
            lambda v1: v1.refunds.create(
                {
                    "payment_intent": payment["gateway_id"],
                    "amount": refund["amount_cents"],
                    "metadata": {"holdfast_refund": refund["id"]},
                },
                {"idempotency_key": f"refund:{refund['id']}"},
            ),
        )
        if isinstance(made, stripe.InvalidRequestError):  # maybe because it was refunded, under a key that is forgotten
            known = self._find_refund(payment, refund)
            if known is None:
                return No() if _is_refused(made) else self._unexpected(made)
            return self._returned(known)
        return self._returned(made)

    def refund_state(self, payment: Row, refund: Row) -> Yes | No | Pending | Nothing:
        if refund["gateway_id"]:
            return self._returned(self._ask(self._quick, lambda v1: v1.refunds.retrieve(refund["gateway_id"])))
        known = self._find_refund(payment, refund)
        return Nothing("Stripe does not know the refund") if known is None else self._returned(known)

    def _find_refund(self, payment: Row, refund: Row) -> Row | Nothing | None:
        """The refund with our id in its metadata. None: there is none."""
        asked = {"payment_intent": payment["gateway_id"], "limit": stripe_lists.PAGE}
        while True:
            page = self._page(
                self._quick, lambda v1: v1.refunds.list(asked), lambda each: {**each, **stripe_lists.refund(each)}
            )
            if isinstance(page, Nothing):
                return page
            for each in page.lines:
                if each["refund_id"] == refund["id"]:
                    return each
            if not page.after:
                return None
            asked["starting_after"] = page.after

    def payments(self, span: Span) -> Page | Nothing:
        asked = stripe_lists.params(span)
        return self._page(self._bank, lambda v1: v1.payment_intents.list(asked), stripe_lists.payment)

    def refunds(self, span: Span) -> Page | Nothing:
        asked = stripe_lists.params(span)
        return self._page(self._bank, lambda v1: v1.refunds.list(asked), stripe_lists.refund)

    def look(self, gateway_id: str) -> Found | Nothing:
        intent = self._ask(self._quick, lambda v1: v1.payment_intents.retrieve(gateway_id))
        if isinstance(intent, stripe.InvalidRequestError) and intent.code == "resource_missing":
            return Found(None)
        if isinstance(intent, stripe.StripeError | Nothing):
            return intent if isinstance(intent, Nothing) else self._unexpected(intent)
        refunds = self._page(
            self._bank,
            lambda v1: v1.refunds.list({"payment_intent": gateway_id, "limit": stripe_lists.PAGE}),
            stripe_lists.refund,
        )
        if isinstance(refunds, Nothing):
            return refunds
        if refunds.after:
            return Nothing(f"more than {stripe_lists.PAGE} refunds of one payment")
        try:
            return Found(stripe_lists.payment(intent), refunds.lines)
        except UNREADABLE:
            return _unreadable()

    def _page(self, api: _Api, call: Callable[[Any], Any], read: Callable[[Any], Row]) -> Page | Nothing:
        found = self._ask(api, call)
        if isinstance(found, stripe.StripeError):
            return self._unexpected(found)
        if isinstance(found, Nothing):
            return found
        try:
            lines = [read(each) for each in found["data"]]
            return Page(lines, lines[-1]["gateway_id"] if found["has_more"] else "")
        except UNREADABLE:
            return _unreadable()

    def _returned(self, refund: Any) -> Yes | No | Pending | Nothing:
        """What a refund, or the error in its place, says about the money."""
        if isinstance(refund, stripe.StripeError):
            return self._unexpected(refund)
        if isinstance(refund, Nothing):
            return refund
        match refund:
            case {"status": "succeeded", "id": str(id_)}:
                return Yes({"gateway_id": id_})
            case {"status": "pending" | "requires_action", "id": str(id_)}:
                return Pending(id_)
            case {"status": "failed" | "canceled"}:
                return No()
        return _unreadable()

    def _truth(self, payment: Row, done: Any, read: Callable[[Row, Intent], Yes | No | Nothing]) -> Yes | No | Nothing:
        """What a PaymentIntent says. It is read again where its state did not fit the request."""
        if isinstance(done, stripe.InvalidRequestError) and done.code == "payment_intent_unexpected_state":
            done = self._ask(
                self._quick, lambda v1: v1.payment_intents.retrieve(payment["gateway_id"], {"expand": WITH_CHARGE})
            )
        if isinstance(done, stripe.StripeError):
            return self._unexpected(done)
        if isinstance(done, Nothing):
            return done
        try:
            is_ours = done["id"] == payment["gateway_id"] and done["currency"] == payment["currency"].lower()
            return read(payment, done) if is_ours else _unreadable()
        except (KeyError, TypeError):
            return _unreadable()

    def _ask(self, api: _Api, call: Callable[[Any], Any]) -> Any:
        """The object that Stripe returned, its refusal, or nothing: also where the answer could come too late."""
        if not is_time_for(api.longest_s):
            return Nothing("no time is left for another request")
        try:
            return _plain(call(api.v1))
        except (stripe.CardError, stripe.InvalidRequestError) as error:
            return error
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            self._alarm(error)
            return Nothing(f"status {error.http_status}")
        except stripe.StripeError as error:
            return Nothing(f"{type(error).__name__} {error.http_status or ''}".strip(), _retry_after(error))
        except Exception as error:  # of an answer that its library cannot read
            return Nothing(f"unreadable: {type(error).__name__}")

    def _unexpected(self, error: stripe.StripeError) -> Nothing:
        """A refusal that says that we made a mistake. It must not undo a sale."""
        self._alarm(error)
        return Nothing(f"{error.code or type(error).__name__}")

    def _alarm(self, error: stripe.StripeError) -> None:
        """Tell an operator, at most once a minute. The error's own text may repeat the key or a token."""
        if time.monotonic() >= self._alarm_at:
            self._alarm_at = time.monotonic() + ALARM_EVERY_S
            log.error(
                "Stripe refuses our request %s: status %s, code %s. Check STRIPE_API_KEY and its permissions.",
                error.request_id, error.http_status, error.code,
            )  # fmt: skip


def refused_amount(amount_cents: int, currency: str) -> str:
    """Why Stripe would not take this amount, as a decline code. Empty: it would."""
    if currency in OTHER_UNIT or currency not in CURRENCIES:
        return "currency_not_supported"
    if currency in THREE_DECIMALS and amount_cents % 10:
        return "amount_not_supported"
    if amount_cents > LARGEST_AMOUNT:
        return "amount_too_large"
    return "amount_too_small" if amount_cents < SMALLEST_AMOUNTS.get(currency, 1) else ""


def _client(key: str, base: str, timeout: tuple[float, float]) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base},
        max_network_retries=0,  # the caller repeats, and only it knows when
        http_client=stripe.RequestsClient(timeout=timeout),
    )


def _plain(answer: Any) -> Any:
    if isinstance(answer, list):
        return [_plain(each) for each in answer]
    return answer.to_dict() if hasattr(answer, "to_dict") else answer


def _capture_before(intent: Intent) -> datetime | None:
    """When the hold ends by itself. None: Stripe does not say."""
    try:
        return datetime.fromtimestamp(intent["latest_charge"]["payment_method_details"]["card"]["capture_before"], UTC)
    except UNREADABLE:
        return None


def _decline_code(error: stripe.CardError) -> str:
    return getattr(error.error, "decline_code", None) or error.code or "generic_decline"


def _is_refused(error: stripe.InvalidRequestError) -> bool:
    """Whether a refund is refused for good. Stripe has no code for an amount of more than is left."""
    return error.code in REFUND_REFUSED or (error.code is None and _param(error) == "amount")


def _param(error: stripe.InvalidRequestError) -> str:
    return error.param or ""


def _retry_after(error: stripe.StripeError) -> int | None:
    said = {name.lower(): value for name, value in (error.headers or {}).items()}.get("retry-after", "")
    return int(said) if said.isdigit() and 0 < int(said) <= 60 else None


def _unreadable() -> Nothing:
    return Nothing("unreadable")
