"""The refusals, with the status and the fields that Stripe gives them."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, type_: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": type_, "message": message, **fields}}


def invalid(message: str, **fields: Any) -> Refusal:
    return Refusal(400, "invalid_request_error", message, **fields)


def missing(what: str, id_: str, param: str) -> Refusal:
    return Refusal(
        404 if param == "id" else 400, "invalid_request_error", f"No such {what}: '{id_}'", code="resource_missing",
        param=param,
    )  # fmt: skip


def unexpected_state(intent: dict[str, Any], verb: str) -> Refusal:
    return invalid(
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
        payment_intent=intent,
    )


def declined(intent: dict[str, Any], code: str, decline_code: str | None) -> Refusal:
    more = {"decline_code": decline_code} if decline_code else {}
    return Refusal(402, "card_error", "Your card was declined.", code=code, **more, payment_intent=intent)
