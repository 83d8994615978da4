"""Tells an order request from another one with the same key."""

from __future__ import annotations

from collections import Counter
from typing import Any

from common.api.idempotency import Fingerprint, with_defaults


def fingerprint_of(sent: dict[str, Any]) -> Fingerprint:
    """:param sent: a valid body, as the client sent it"""
    return Fingerprint(sent, lambda: _as_0_1_read_it(sent))


def _as_0_1_read_it(sent: dict[str, Any]) -> dict[str, Any]:
    """Release 0.1 filled in the currency, wrote UUIDs in lower case, and added up the lines for one product."""
    quantities: Counter[str] = Counter()
    for item in sent["items"]:
        quantities[item["product_id"].lower()] += item["quantity"]
    items = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in quantities.items()]
    return with_defaults(sent, {"currency": "USD"}, ids=("user_id",)) | {"items": items}
