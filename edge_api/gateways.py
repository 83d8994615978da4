"""What the Edge API asks of other services: the prices, and the authorization of the payment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.calls.client import Answer, No, Nothing, ServiceClient, Yes
from common.database.database import Row
from domain.money import MAX_CENTS
from domain.states import authorize_key
from edge_api.errors import PricesUnavailable, UnknownProduct

AUTHORIZATION_ID = re.compile(r"[\x21-\x7e]{1,255}")  # what is no id could neither be kept nor captured
REFUSALS = frozenset({"payment_declined", "already_voided"})


@dataclass(frozen=True)
class Gateways:
    inventory: ServiceClient
    payments: ServiceClient

    def prices(self, product_ids: list[str]) -> dict[str, int]:
        """The present price in cents of each product.

        :raises UnknownProduct: naming those that do not exist
        :raises PricesUnavailable: no answer from the inventory service
        """
        answer = self.inventory.ask(
            "GET", "/inventory/products", params={"ids": ",".join(product_ids)}, is_yes=_has_prices
        )
        if not isinstance(answer, Yes):
            raise PricesUnavailable() from RuntimeError(str(answer))
        prices = {product["id"]: product["price_cents"] for product in answer.body["products"]}
        if unknown := [product_id for product_id in product_ids if product_id not in prices]:
            raise UnknownProduct(product_ids=unknown)
        return prices

    def authorize(self, entry: Row, payment_token: str) -> Answer:
        """Ask for a hold on the entry's total, under a key of the entry's own: however often it is asked, one hold."""
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
        if isinstance(answer, No) and answer.code not in REFUSALS:
            # The request is one of ours, so a "bad request" is a mistake between two versions; an earlier try may hold.
            return Nothing(f"payments: {answer.code}: {answer.message}")
        return answer


def _has_prices(body: dict[str, Any]) -> bool:
    return isinstance(body["products"], list) and all(map(_has_price, body["products"]))


def _has_price(product: dict[str, Any]) -> bool:
    price = product["price_cents"]
    return isinstance(product["id"], str) and type(price) is int and 1 <= price <= MAX_CENTS


def _is_hold(body: dict[str, Any], entry: Row) -> bool:
    return (
        AUTHORIZATION_ID.fullmatch(body["authorization_id"]) is not None
        and body["status"] == "AUTHORIZED"
        and (body["amount_cents"], body["currency"]) == (entry["total_amount_cents"], entry["currency"])
    )
