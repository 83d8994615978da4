"""Repairs requests that schemathesis generates as valid, where OpenAPI cannot express a rule.

Loaded by schemathesis.toml. Requests that are meant to be invalid are sent unchanged.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis

from common.api.visible import is_visible

TEXTS = {"name", "note", "notes", "reason", "reference", "reference_id", "description"}
PLACES = {"cursor", "after"}  # in a list: only the server can make one
KNOWN_PRODUCT = os.environ.get("KNOWN_PRODUCT", "")
"""An existing product. OpenAPI cannot link one service's document to another's."""


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    _make_texts_visible(case.body)
    for name in PLACES & (case.query or {}).keys():
        del case.query[name]
    repair = REPAIRS.get(case.operation.definition.raw["operationId"])
    if repair:
        repair(case)


def _make_texts_visible(body: Any) -> None:
    """Give human-readable text at least one visible character."""
    if not isinstance(body, dict):
        return
    for name, value in body.items():
        if name in TEXTS and isinstance(value, str) and value and not is_visible(value):
            body[name] = "x"
        _make_texts_visible(value)


def _place_order(case: schemathesis.Case) -> None:
    """Order an existing product in its currency. OpenAPI 3.0 cannot limit the names in an object."""
    case.body["items"] = [{"product_id": KNOWN_PRODUCT, "quantity": case.body["items"][0]["quantity"]}]
    if "currency" in case.body:
        case.body["currency"] = "USD"
    if "metadata" in case.body:
        case.body["metadata"] = {f"name {number}": value for number, value in enumerate(case.body["metadata"].values())}


def _list_orders(case: schemathesis.Case) -> None:
    """Send no cursor: only the service makes one."""
    if case.query:
        case.query = {name: value for name, value in case.query.items() if name != "cursor"}
        _make_texts_visible(case.query)


def _create_order(case: schemathesis.Case) -> None:
    """Put each product in one line, and make the total the sum of the lines, within its limit."""
    lines = {line["product_id"].lower(): line for line in case.body["items"]}
    for line in lines.values():
        line["unit_price_cents"] = min(line["unit_price_cents"], 10**8)
    case.body["items"] = list(lines.values())
    case.body["total_amount_cents"] = sum(line["quantity"] * line["unit_price_cents"] for line in lines.values())


def _request_refund(case: schemathesis.Case) -> None:
    """Do not combine an amount with pieces, and put each product in one line."""
    if "amount_cents" in case.body:
        case.body.pop("items", None)
        case.body.pop("restock", None)
    elif "items" in case.body:
        case.body["items"] = case.body["items"][:1]


def _list_products(case: schemathesis.Case) -> None:
    """Do not combine `ids` with paging."""
    if case.query and "ids" in case.query:
        case.query = {"ids": case.query["ids"]}


def _list_events(case: schemathesis.Case) -> None:
    """Begin with the oldest event: no other one is known here."""
    case.query = {name: value for name, value in (case.query or {}).items() if name != "after"}


def _change_stock(case: schemathesis.Case) -> None:
    """Make the quantity positive for reasons that only add stock, and keep the stock within its column's range."""
    case.body["quantity"] = abs(case.body["quantity"]) % 1000 + 1


def _change_product(case: schemathesis.Case) -> None:
    """Leave each product on sale, at a price that an order can have: the orders that follow need one."""
    if "is_active" in case.body:
        case.body["is_active"] = True
    if "price_cents" in case.body:
        case.body["price_cents"] = min(case.body["price_cents"], 10**6)


def _create_product(case: schemathesis.Case) -> None:
    case.body["initial_stock"] = case.body.get("initial_stock", 0) % 10**6


def _reserve(case: schemathesis.Case) -> None:
    """Reserve existing products."""
    if len(case.body["items"]) == 1:
        case.body["items"][0]["product_id"] = KNOWN_PRODUCT


def _move_money(case: schemathesis.Case) -> None:
    """Move at most the available amount."""
    if "amount_cents" in case.body:
        case.body["amount_cents"] = 1


def _choose_event_types(case: schemathesis.Case) -> None:
    """`*` stands alone."""
    if "*" in case.body.get("event_types", ()):
        case.body["event_types"] = ["*"]


REPAIRS = {
    "create_webhook_endpoint": _choose_event_types,
    "change_webhook_endpoint": _choose_event_types,
    "place_order": _place_order,
    "list_orders": _list_orders,
    "create_order": _create_order,
    "list_events": _list_events,
    "request_refund": _request_refund,
    "list_products": _list_products,
    "create_product": _create_product,
    "change_product": _change_product,
    "change_stock": _change_stock,
    "reserve": _reserve,
    "capture": _move_money,
    "refund": _move_money,
}
