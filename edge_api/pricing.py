"""The ledger columns of a new order: its lines with the current prices, its total, its currency."""

from __future__ import annotations

from typing import Any

from common.api.errors import ValidationFailed
from common.json_text import encode
from common.process.logs import request_id
from domain.money import MAX_CENTS
from edge_api.errors import CurrencyMismatch
from edge_api.services import Price, Services


def priced(services: Services, order: dict[str, Any]) -> dict[str, Any]:
    """Read the prices.

    :raises UnknownProduct, CurrencyMismatch, ValidationFailed: the order can never be accepted in this form
    :raises PricesUnavailable: the inventory service did not answer
    """
    items = order["items"]
    prices = services.prices([item["product_id"] for item in items])
    currency = _currency(order, prices)
    unit_prices = [prices[item["product_id"]].cents for item in items]
    total = sum(price * item["quantity"] for price, item in zip(unit_prices, items, strict=True))
    if total > MAX_CENTS:
        raise ValidationFailed(items=[f"The total is more than {MAX_CENTS} cents."])
    return {
        "user_id": order["user_id"],
        "email": order["email"],
        "reference": order.get("reference"),
        "metadata": encode.compact(order["metadata"]) if "metadata" in order else None,
        "currency": currency,
        "total": total,
        "request_id": request_id.get(),
        "product_ids": [item["product_id"] for item in items],
        "quantities": [item["quantity"] for item in items],
        "prices": unit_prices,
    }


def _currency(order: dict[str, Any], prices: dict[str, Price]) -> str:
    """The one that the order names, or that of its first product.

    :raises CurrencyMismatch: naming the products that are priced in another one
    """
    product_ids = [item["product_id"] for item in order["items"]]
    currency = str(order.get("currency", prices[product_ids[0]].currency))
    if others := [product_id for product_id in product_ids if prices[product_id].currency != currency]:
        raise CurrencyMismatch(product_ids=others)
    return currency
