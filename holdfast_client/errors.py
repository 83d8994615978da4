"""The exceptions that a call can raise. All of them are a HoldfastError."""

from __future__ import annotations

from typing import Any

import requests

from holdfast_client.models import Order


class HoldfastError(Exception):
    """The server refused the call, or gave no reliable answer.

    `status`: the HTTP status, None when no answer came. `code`: the server's error code, stable and meant for
    programs. `message`: a sentence for a person. `details`: more from the server. `request_id`: finds the call in
    the server's log.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        details: dict[str, Any] | None = None,
        request_id: str = "",
    ) -> None:
        self.status, self.code, self.message = status, code, message
        self.details, self.request_id = details or {}, request_id
        super().__init__(message)

    def __str__(self) -> str:
        facts = [str(fact) for fact in (self.status, self.code, self.details or None) if fact]
        facts += [f"request id {self.request_id}"] if self.request_id else []
        return f"{self.message} ({', '.join(facts)})" if facts else self.message


class PaymentDeclined(HoldfastError):
    """The payment was declined; nothing is held or charged. To try another card, use a new idempotency key."""

    @property
    def decline_code(self) -> str:
        """The reason, for example `insufficient_funds`."""
        return str(self.details.get("decline_code", ""))


class RequestAbandoned(HoldfastError):
    """An earlier request with this key was never finished, and the server has closed it; nothing is held or charged.

    This happens when a request is interrupted and nobody repeats it for a minute, or when its order is cancelled. The
    card was not declined: place the order again with a new idempotency key.
    """


class ValidationError(HoldfastError):
    """The request is not valid; `details` maps each field to its errors."""


class UnknownProduct(HoldfastError):
    """At least one product does not exist."""

    @property
    def product_ids(self) -> list[str]:
        """The unknown products."""
        return _product_ids(self)


class DuplicateSku(HoldfastError):
    """A product with this SKU exists already."""

    @property
    def existing_product_id(self) -> str:
        """The product that has the SKU."""
        return str(self.details.get("existing_product_id", ""))


class CurrencyMismatch(ValidationError):
    """The products are not sold in the currency of the order, or the order mixes currencies. Nothing was ordered."""

    @property
    def product_ids(self) -> list[str]:
        """The products that do not fit."""
        return _product_ids(self)


class NotCancellable(HoldfastError):
    """The order has ended and cannot be cancelled."""

    @property
    def use(self) -> str:
        """What to use instead: `refunds` for a completed order, else empty."""
        return str(self.details.get("use", ""))


class OrderNotRefundable(HoldfastError):
    """Only a completed order can be refunded. `details["status"]` says where the order stands."""


class RefundExceedsRemaining(HoldfastError):
    """More was to be refunded than is left of the order. Nothing was refunded."""

    @property
    def remaining_cents(self) -> int:
        """How much is left."""
        return int(self.details.get("remaining_cents", 0))


class IdempotencyKeyReused(HoldfastError):
    """The idempotency key was used before, for a different order."""


class Unauthorized(HoldfastError):
    """The API key is missing or unknown, or does not allow this call."""


class NotFound(HoldfastError):
    """There is no such order, refund, product or webhook endpoint, or it belongs to another client."""


class InvalidWebhook(HoldfastError):
    """A request that claims to be a webhook is not signed with the secret, is too old, or cannot be read."""


class Unavailable(HoldfastError):
    """No final answer came in time. **It is unknown whether the call had an effect.**

    `status` and `code` are those of the last answer, for example 503 `busy`. To find out, make the call again
    with the same arguments and `idempotency_key=error.idempotency_key`: it has its effect once, however often it is
    made. `idempotency_key` is None for a read.
    """

    idempotency_key: str | None = None


class StillInProgress(HoldfastError, TimeoutError):
    """The order is not terminal yet; the server is still processing it. `order` is its latest state."""

    order: Order


# Codes with their own class; any other refusal is a plain HoldfastError.
BY_CODE: dict[str, type[HoldfastError]] = {
    "payment_declined": PaymentDeclined,
    "request_abandoned": RequestAbandoned,
    "unknown_product": UnknownProduct,
    "currency_mismatch": CurrencyMismatch,
    "order_not_cancellable": NotCancellable,
    "order_not_refundable": OrderNotRefundable,
    "refund_exceeds_remaining": RefundExceedsRemaining,
    "idempotency_key_reused": IdempotencyKeyReused,
    "validation_error": ValidationError,
    "malformed_json": ValidationError,
    "missing_idempotency_key": ValidationError,
    "payload_too_large": ValidationError,
    "unauthorized": Unauthorized,
    "forbidden": Unauthorized,
    "not_found": NotFound,
    "product_not_found": NotFound,
    "duplicate_sku": DuplicateSku,
}


def refusal(response: requests.Response, request_id: str) -> HoldfastError:
    """The error for an answer other than 2xx. A proxy may have written it, so it may not be JSON."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return unreadable(response, request_id)
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return unreadable(response, request_id)
    details = body["details"] if isinstance(body.get("details"), dict) else {}
    return _class_of(body["error"], details)(
        str(body.get("message", "")),
        status=response.status_code,
        code=body["error"],
        details=details,
        request_id=str(body.get("request_id", request_id)),
    )


def unreadable(response: requests.Response, request_id: str) -> HoldfastError:
    """The error for an answer that does not have the form of the API's answers."""
    message = f"The answer does not come from the Edge API: {response.status_code} {response.reason}."
    return HoldfastError(message, status=response.status_code, code="unreadable_answer", request_id=request_id)


def is_transient(error: HoldfastError) -> bool:
    """Whether the same call may soon get a different answer."""
    return error.code == "request_in_progress" or error.status in (408, 425, 429) or (error.status or 0) >= 500


def unavailable(last: HoldfastError, tries: int, key: str | None) -> Unavailable:
    """The error for a call that ran out of time; its last try ended with `last`."""
    advice = f" It is unknown whether this was done. Retry with idempotency_key={key!r}." if key else ""
    error = Unavailable(
        f"No final answer after {tries} tries; the last: {last.message}{advice}",
        status=last.status,
        code=last.code,
        details=last.details,
        request_id=last.request_id,
    )
    error.idempotency_key = key
    return error


def _class_of(code: str, details: dict[str, Any]) -> type[HoldfastError]:
    # Older servers stored abandoned requests as declines, and the stored answers are still replayed.
    if code == "payment_declined" and details.get("decline_code") == "abandoned":
        return RequestAbandoned
    return BY_CODE.get(code, HoldfastError)


def _product_ids(error: HoldfastError) -> list[str]:
    ids = error.details.get("product_ids")
    return [str(product_id) for product_id in ids] if isinstance(ids, list) else []
