"""The calls of the Edge API to other services: the prices, and the authorization of the payment."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from common.calls.breaker import Breaker
from common.calls.client import Answer, No, NoEffect, Nothing, ServiceClient, Yes
from common.database.database import Row
from domain.money import CURRENCIES, MAX_CENTS
from domain.states import authorize_key
from edge_api.admission import Bulkhead
from edge_api.errors import GatewayError, PricesUnavailable, UnknownProduct

AUTHORIZATION_ID = re.compile(r"[\x21-\x7e]{1,255}")  # anything else could not be stored or captured
SHORTEST_SECRET = 8  # a shorter token may be a part of a word
REFUSALS = frozenset({"payment_declined", "already_voided"})
FIRST_PAUSE_S = 1.0  # of an open breaker


class GuardedService:
    """One service behind its breaker. Each answer shows the bulkhead that calls make progress."""

    def __init__(self, client: ServiceClient, bulkhead: Bulkhead) -> None:
        self._client, self._bulkhead = client, bulkhead
        self._breaker = Breaker(FIRST_PAUSE_S)

    def pause_s(self) -> int:
        """0: call now. Otherwise the service has not answered for some time; call again after this many seconds."""
        return math.ceil(self._breaker.wait_s())

    def is_held_back(self) -> bool:
        """Whether the breaker is open."""
        return self._breaker.is_open

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **options: Any) -> Answer:
        """Like `ServiceClient.ask`."""
        answer = self._client.ask(method, path, body, **options)
        is_answered = not isinstance(answer, Nothing) or isinstance(answer, NoEffect)
        self._breaker.note(answered=is_answered)
        if is_answered:
            self._bulkhead.note_answer()
        return answer


@dataclass(frozen=True)
class Price:
    cents: int
    currency: str


@dataclass(frozen=True)
class Services:
    inventory: GuardedService
    payments: GuardedService

    def prices(self, product_ids: list[str]) -> dict[str, Price]:
        """The current price of each product.

        :raises UnknownProduct: naming those that do not exist or are not active
        :raises PricesUnavailable: the inventory service did not answer
        """
        if pause_s := self.inventory.pause_s():
            raise _later(PricesUnavailable(), pause_s)
        answer = self.inventory.ask(
            "GET", "/inventory/products", params={"ids": ",".join(product_ids)}, is_yes=_has_prices
        )
        if not isinstance(answer, Yes):
            raise PricesUnavailable() from RuntimeError(str(answer))
        prices = {
            product["id"]: Price(product["price_cents"], product["currency"])
            for product in answer.body["products"]
            if product["is_active"]
        }
        if unknown := [product_id for product_id in product_ids if product_id not in prices]:
            raise UnknownProduct(product_ids=unknown)
        return prices

    def expect_payments(self) -> None:
        """:raises GatewayError: the payment service has not answered for some time"""
        if pause_s := self.payments.pause_s():
            raise _later(
                GatewayError("The payment service does not answer; nothing was done. Send the same request again."),
                pause_s,
            )

    def authorize(self, entry: Row, payment_token: str) -> Answer:
        """Ask for a hold on the entry's total, with the entry's own key, so that repeats do not add a second hold."""
        answer = self.payments.ask(
            "POST",
            "/payments/authorize",
            {
                "user_id": entry["user_id"],
                "amount_cents": entry["total_amount_cents"],
                "currency": entry["currency"],
                "payment_token": payment_token,
                "idempotency_key": authorize_key(entry["id"]),
            },
            refusals=REFUSALS,
            is_yes=lambda body: _is_hold(body, entry),
        )
        if isinstance(answer, No):
            answer = _without(payment_token, answer)
        if isinstance(answer, No) and answer.code not in REFUSALS:
            # We built the request, so a "bad request" means that two releases disagree. An earlier try may hold money.
            return Nothing(f"payments: {answer.code}: {answer.message}")
        return answer


def _without(token: str, refusal: No) -> No:
    """The refusal without the token, which a gateway may repeat. The texts are stored and shown."""
    if len(token) < SHORTEST_SECRET:
        return refusal
    texts = {name: value for name, value in refusal.details.items() if isinstance(value, str)}
    details = {name: value.replace(token, "***") for name, value in texts.items()}
    return No(refusal.code, refusal.message.replace(token, "***"), {**refusal.details, **details})


def _later(refusal: GatewayError | PricesUnavailable, pause_s: int) -> GatewayError | PricesUnavailable:
    refusal.retry_after = pause_s
    return refusal


def _has_prices(body: dict[str, Any]) -> bool:
    return isinstance(body["products"], list) and all(map(_has_price, body["products"]))


def _has_price(product: dict[str, Any]) -> bool:
    price = product["price_cents"]
    return (
        isinstance(product["id"], str)
        and type(price) is int
        and 1 <= price <= MAX_CENTS
        and product["currency"] in CURRENCIES
        and type(product["is_active"]) is bool
    )


def _is_hold(body: dict[str, Any], entry: Row) -> bool:
    return (
        AUTHORIZATION_ID.fullmatch(body["authorization_id"]) is not None
        and body["status"] == "AUTHORIZED"
        and (body["amount_cents"], body["currency"]) == (entry["total_amount_cents"], entry["currency"])
    )
