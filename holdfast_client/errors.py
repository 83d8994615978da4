"""What a call can raise. Everything is a HoldfastError; catch that for all of them."""

from __future__ import annotations

from typing import Any

import requests

from holdfast_client.models import Order


class HoldfastError(Exception):
    """The server refused the call, or gave no answer that can be relied on.

    `status`: the HTTP status, None where no answer came. `code`: the server's word for it, stable and made for
    programs. `message`: a sentence for a person. `details`: what the server adds. `request_id`: finds it in its log.
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
    """The payment was refused for good; nothing is held or charged. Another attempt needs a new idempotency key."""

    @property
    def decline_code(self) -> str:
        """Why, for instance `insufficient_funds`."""
        return str(self.details.get("decline_code", ""))


class UnknownProduct(HoldfastError):
    """At least one product does not exist."""

    @property
    def product_ids(self) -> list[str]:
        """The products that are unknown."""
        return [str(product_id) for product_id in self.details.get("product_ids", [])]


class IdempotencyKeyReused(HoldfastError):
    """The idempotency key was used before, for a different order."""


class ValidationError(HoldfastError):
    """The request is not valid; `details` maps each field to what is wrong with it."""


class Unauthorized(HoldfastError):
    """The API key is missing or unknown, or may not do this."""


class NotFound(HoldfastError):
    """There is no such order, or it belongs to another client."""


class Unavailable(HoldfastError):
    """No final answer came, however often it was asked for. **Whether an order was placed is unknown.**

    Place it again with the same arguments and `idempotency_key=error.idempotency_key`: that finds the order or
    places it, never a second one. Where nothing could have been placed (a read), `idempotency_key` is None.
    """

    idempotency_key: str | None = None


class StillInProgress(HoldfastError, TimeoutError):
    """The order was not finished in time; it goes on by itself. `order` is how it stood at the last look."""

    order: Order


# The refusals that have a class of their own; any other is a plain HoldfastError.
BY_CODE: dict[str, type[HoldfastError]] = {
    "payment_declined": PaymentDeclined,
    "unknown_product": UnknownProduct,
    "idempotency_key_reused": IdempotencyKeyReused,
    "validation_error": ValidationError,
    "malformed_json": ValidationError,
    "missing_idempotency_key": ValidationError,
    "payload_too_large": ValidationError,
    "unauthorized": Unauthorized,
    "forbidden": Unauthorized,
    "not_found": NotFound,
}


def refusal(response: requests.Response, request_id: str) -> HoldfastError:
    """What an answer that is no 2xx says. Where a proxy in between wrote it, it may not be JSON."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return unreadable(response, request_id)
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return unreadable(response, request_id)
    details = body.get("details")
    return BY_CODE.get(body["error"], HoldfastError)(
        str(body.get("message", "")),
        status=response.status_code,
        code=body["error"],
        details=details if isinstance(details, dict) else {},
        request_id=str(body.get("request_id", request_id)),
    )


def unreadable(response: requests.Response, request_id: str) -> HoldfastError:
    """For an answer that is not of the API's form."""
    message = f"The answer is not one of the Edge API's: {response.status_code} {response.reason}."
    return HoldfastError(message, status=response.status_code, code="unreadable_answer", request_id=request_id)


def is_transient(error: HoldfastError) -> bool:
    """Whether the same call may be answered otherwise in a moment."""
    return error.code == "request_in_progress" or error.status in (408, 425, 429) or (error.status or 0) >= 500


def unavailable(last: HoldfastError, tries: int, key: str | None) -> Unavailable:
    """For a call whose tries are used up, the last of them with `last`."""
    advice = "" if key is None else f" Whether it was placed is unknown: place it again with idempotency_key={key!r}."
    error = Unavailable(
        f"No final answer in {tries} tries; the last: {last.message}{advice}",
        status=last.status,
        code=last.code,
        details=last.details,
        request_id=last.request_id,
    )
    error.idempotency_key = key
    return error
