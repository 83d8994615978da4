"""Values that no call may take: for each call a good body, and for each of its fields what is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Stand for ids that exist; the test that sends a request puts the real ones there.
PRODUCT = "aaaaaaaa-0000-4000-8000-00000000000a"
LEDGER = "bbbbbbbb-0000-4000-8000-00000000000b"
ORDER = "cccccccc-0000-4000-8000-00000000000c"
HOLD = "auth_hhhhhhhhhhhhhhhhhhhhhhhh"
CAPTURED = "auth_cccccccccccccccccccccccc"
OTHER = "7b9d2c2e-1111-4222-8333-123456789abc"

NO_NUMBER: list[Any] = [1.5, 1.0, True, False, "1", "", 1e300, 10**18, -(10**18), 2**63, None, [], {}, [1]]
NO_COUNT: list[Any] = [*NO_NUMBER, -1, 0, 2**31]
NO_CENTS: list[Any] = [*NO_NUMBER, -1, 0, 10**12]
NO_ID: list[Any] = ["", "x", 1, None, True, [], "{00000000-0000-0000-0000-000000000000}", "0" * 32, "0" * 36, "\ud800"]
NO_TEXT: list[Any] = ["", 1, None, True, [], {}, "a\nb", "a\x7f", "a\x85", "\u2028", "a" * 256, "a\x00b", "\udc00"]
NO_TOKEN: list[Any] = [text for text in NO_TEXT if text != "a" * 256] + ["a" * 8193]
NO_KEY: list[Any] = ["", "x" * 256, "ü", "a\nb", "a\x00b", "\x7f", None, 1, True, []]
NO_CURRENCY: list[Any] = ["", "usd", "US", "USDD", "ZZZ", "XXX", "USD\n", None, 1, True, ["USD"]]
NO_REASON: list[Any] = ["", "x" * 1001, None, 1, "\n"]
NO_EMAIL: list[Any] = [
    *("", "a", "a@", "@b.example", "a@b", "a b@c.example", "a@b.example\n", f"{'a' * 250}@b.example"),
    *('"\x01"@b.example', "a@b.example\x00", None, 1, []),
]
NO_OBJECT: list[Any] = [None, 1, "x", True, [[]]]
NO_LINES: list[Any] = [None, {}, "x", 1, [], [1], ["x"], [None], [[]], [{}]]


@dataclass(frozen=True)
class Call:
    """An operation, a request that it takes, and what of it can be wrong: path of the field → values."""

    service: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    needs_key: bool = False
    bad: dict[str, list[Any]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ("extra", "")
    optional: tuple[str, ...] = ()


LINE = {"product_id": PRODUCT, "quantity": 1}
PRICED = {**LINE, "unit_price_cents": 500}
KEYED = {"idempotency_key": "k"}
PAYMENT = {"method": "card", "token": "tok_visa"}
CALLS = {
    "place_order": Call(
        "web",
        "POST",
        "/orders",
        {"user_id": OTHER, "email": "a@b.example", "items": [LINE], "payment": PAYMENT, "currency": "USD"},
        needs_key=True,
        bad={
            "items.0.quantity": [*NO_COUNT, 101],
            "items.0.product_id": NO_ID,
            "user_id": NO_ID,
            "email": NO_EMAIL,
            "currency": NO_CURRENCY,
            "payment.token": NO_TOKEN,
            "payment.method": ["", "cash", "CARD", None, 1, True, []],
            "payment": [*NO_OBJECT, {**PAYMENT, "cvc": "123"}],
            "items": [*NO_LINES, [LINE] * 51, [LINE, {}], [{**LINE, "quantity": 51}] * 2, [PRICED]],
        },
        unknown=("total_amount_cents", "USER_ID", "", "__proto__", "order_ledger_id", "client"),
        optional=("currency",),
    ),
    "get_order (edge)": Call("web", "GET", f"/orders/{LEDGER}"),
    "create_order": Call(
        "orders_service",
        "POST",
        "/orders",
        {"order_ledger_id": OTHER, "user_id": OTHER, "total_amount_cents": 500, "currency": "USD", "items": [PRICED]},
        bad={
            "items.0.quantity": [*NO_COUNT, 101],
            "items.0.unit_price_cents": NO_CENTS,
            "total_amount_cents": [*NO_CENTS, 499, 501, 1],
            "order_ledger_id": NO_ID,
            "user_id": NO_ID,
            "items.0.product_id": NO_ID,
            "currency": NO_CURRENCY,
            "items": [*NO_LINES, [PRICED] * 51, [PRICED] * 2, [LINE], [{**PRICED, "sku": "A"}]],
        },
        unknown=("itmes", "id", "status", ""),
    ),
    "get_order": Call("orders_service", "GET", f"/orders/{ORDER}"),
    "confirm_order": Call("orders_service", "PUT", f"/orders/{ORDER}/confirm"),
    "cancel_order": Call("orders_service", "PUT", f"/orders/{ORDER}/cancel"),
    "create_product": Call(
        "inventory_service",
        "POST",
        "/inventory/products",
        {"name": "Widget", "sku": "WIDGET-001", "price_cents": 2999, "initial_stock": 7},
        bad={
            "sku": [*NO_TEXT, "a b", "ä", "a\n", "a" * 101, "a/b"],
            "name": NO_TEXT,
            "price_cents": NO_CENTS,
            "currency": NO_CURRENCY,
            "initial_stock": [*NO_NUMBER, -1, 2**31],
        },
        unknown=("intial_stock", "stock_quantity", "id", "is_active"),
        optional=("currency", "initial_stock"),
    ),
    "list_products": Call("inventory_service", "GET", "/inventory/products"),
    "get_availability": Call("inventory_service", "GET", f"/inventory/products/{PRODUCT}/availability"),
    "change_stock": Call(
        "inventory_service",
        "POST",
        f"/inventory/products/{PRODUCT}/stock",
        {"quantity": 1, "reason": "warehouse_receiving", "reference_id": "PO-7", "notes": "two boxes"},
        needs_key=True,
        bad={
            "quantity": [*NO_COUNT, 10**9 + 1, -(10**9) - 1],
            "reason": ["initial_stock", "", None, 1, [], "CORRECTION"],
            "reference_id": NO_TEXT,
            "notes": ["n" * 1001, 1, None, "a\nb", []],
        },
        unknown=("note", "product_id"),
        optional=("reference_id", "notes"),
    ),
    "reserve": Call(
        "inventory_service",
        "POST",
        "/inventory/reservations",
        {"order_id": OTHER, "items": [LINE]},
        bad={
            "items.0.quantity": [*NO_COUNT, 101],
            "order_id": NO_ID,
            "items.0.product_id": NO_ID,
            "items": [*NO_LINES, [LINE] * 51, [PRICED]],
        },
        unknown=("itmes", "user_id"),
    ),
    "release": Call("inventory_service", "DELETE", f"/inventory/reservations/{ORDER}"),
    "authorize": Call(
        "payments_service",
        "POST",
        "/payments/authorize",
        {**KEYED, "user_id": OTHER, "amount_cents": 1000, "currency": "USD", "payment_token": "tok_visa"},
        bad={
            "amount_cents": NO_CENTS,
            "idempotency_key": NO_KEY,
            "user_id": NO_ID,
            "currency": NO_CURRENCY,
            "payment_token": NO_TOKEN,
        },
        unknown=("amount", "authorization_id"),
    ),
    "capture": Call(
        "payments_service",
        "POST",
        f"/payments/capture/{HOLD}",
        {**KEYED, "amount_cents": 1},
        bad={"amount_cents": [*NO_CENTS, 10**11], "idempotency_key": NO_KEY},
        unknown=("reason", "currency", "authorization_id"),
        optional=("amount_cents",),
    ),
    "void": Call(
        "payments_service",
        "POST",
        f"/payments/void/{HOLD}",
        {**KEYED, "reason": "no need"},
        bad={"reason": NO_REASON, "idempotency_key": NO_KEY},
        unknown=("amount_cents",),
        optional=("reason",),
    ),
    "void_by_key": Call(
        "payments_service",
        "POST",
        "/payments/void",
        {**KEYED, "authorization_key": "never seen", "reason": "no need"},
        bad={"reason": NO_REASON, "idempotency_key": NO_KEY, "authorization_key": NO_KEY},
        unknown=("authorization_id",),
        optional=("reason",),
    ),
    "refund": Call(
        "payments_service",
        "POST",
        f"/payments/refund/{CAPTURED}",
        {**KEYED, "amount_cents": 1, "reason": "returned"},
        bad={"amount_cents": [*NO_CENTS, 10**11], "idempotency_key": NO_KEY, "reason": NO_REASON},
        unknown=("amount",),
        optional=("amount_cents", "reason"),
    ),
    "show": Call("payments_service", "GET", f"/payments/{HOLD}"),
}
