"""What the Edge API asks of other services: the prices, and the authorization of the payment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.client import AnswerTo, ServiceClient, Yes
from common.db import Row
from common.ledger import authorize_key
from edge_api.errors import PricesUnavailable, UnknownProduct


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

    def authorize(self, entry: Row, payment_token: str) -> AnswerTo:
        """Ask for a hold on the entry's total, under a key of the entry's own: however often it is asked, one hold."""
        return self.payments.ask(
            "POST",
            "/payments/authorize",
            {
                "user_id": entry["user_id"],
                "amount_cents": entry["total_amount_cents"],
                "currency": entry["currency"],
                "payment_token": payment_token,
                "idempotency_key": authorize_key(entry["id"]),
            },
            refusals=frozenset({"payment_declined", "already_voided"}),
            is_yes=lambda body: _is_hold(body, entry),
        )


def _has_prices(body: dict[str, Any]) -> bool:
    return all(type(product["price_cents"]) is int and isinstance(product["id"], str) for product in body["products"])


def _is_hold(body: dict[str, Any], entry: Row) -> bool:
    return (
        isinstance(body["authorization_id"], str)
        and body["status"] == "AUTHORIZED"
        and body["amount_cents"] == entry["total_amount_cents"]
    )
