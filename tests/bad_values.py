"""Invalid values: for each call a valid body, and for each of its fields the values that must be refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

# Placeholders for existing ids; the test that sends a request inserts the real ones.
PRODUCT = "aaaaaaaa-0000-4000-8000-00000000000a"
ENDPOINT = "we_" + "0" * 24
LEDGER = "bbbbbbbb-0000-4000-8000-00000000000b"
ORDER = "cccccccc-0000-4000-8000-00000000000c"
HOLD = "auth_hhhhhhhhhhhhhhhhhhhhhhhh"
CAPTURED = "auth_cccccccccccccccccccccccc"
OTHER = "7b9d2c2e-1111-4222-8333-123456789abc"

NOT_A_NUMBER: list[Any] = [1.5, 1.0, True, False, "1", "", 1e300, 10**18, -(10**18), 2**63, None, [], {}, [1]]
BAD_COUNT: list[Any] = [*NOT_A_NUMBER, -1, 0, 2**31]
BAD_CENTS: list[Any] = [*NOT_A_NUMBER, -1, 0, 10**12]
BAD_ID: list[Any] = ["", "x", 1, None, True, [], "{00000000-0000-0000-0000-000000000000}", "0" * 32, "0" * 36, "\ud800"]
BAD_TEXT: list[Any] = ["", 1, None, True, [], {}, "a\nb", "a\x7f", "a\x85", "\u2028", "a" * 256, "a\x00b", "\udc00"]
BAD_TOKEN: list[Any] = [text for text in BAD_TEXT if text != "a" * 256] + ["a" * 8193]
BAD_KEY: list[Any] = ["", "x" * 256, "ü", "a\nb", "a\x00b", "\x7f", None, 1, True, []]
BAD_CURRENCY: list[Any] = ["", "usd", "US", "USDD", "ZZZ", "XXX", "USD\n", None, 1, True, ["USD"]]
BAD_REASON: list[Any] = ["", "x" * 1001, None, 1, "\n"]
BAD_EMAIL: list[Any] = [
    *("", "a", "a@", "@b.example", "a@b", "a b@c.example", "a@b.example\n", f"{'a' * 250}@b.example"),
    *('"\x01"@b.example', "a@b.example\x00", None, 1, []),
]
BAD_METADATA: list[Any] = [
    *(None, 1, "x", True, [], [["a", "b"]], {"": "no name"}, {"n" * 41: ""}, {"a\nb": ""}, {"a": 1}),
    *({"a": None}, {"a": ["x"]}, {"a": {"b": "c"}}, {"a": "v" * 501}),
    *({str(number): "" for number in range(51)}, {str(number): "ü" * 500 for number in range(9)}),
]
NOT_AN_OBJECT: list[Any] = [None, 1, "x", True, [[]]]
BAD_LINES: list[Any] = [None, {}, "x", 1, [], [1], ["x"], [None], [[]], [{}]]


@dataclass(frozen=True)
class Call:
    """An operation, a valid request, and its invalid values: path of the field → values."""

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
        {"user_id": OTHER, "email": "a@b.example", "items": [LINE], "payment": PAYMENT, "currency": "USD"}
        | {"reference": "2026-1742", "metadata": {}},
        needs_key=True,
        bad={
            "items.0.quantity": [*BAD_COUNT, 101],
            "items.0.product_id": BAD_ID,
            "user_id": BAD_ID,
            "email": BAD_EMAIL,
            "currency": BAD_CURRENCY,
            "reference": [*BAD_TEXT, " ", "\u200b"],
            "metadata": BAD_METADATA,
            "payment.token": BAD_TOKEN,
            "payment.method": ["", "cash", "CARD", None, 1, True, []],
            "payment": [*NOT_AN_OBJECT, {**PAYMENT, "cvc": "123"}],
            "items": [*BAD_LINES, [LINE] * 51, [LINE, {}], [{**LINE, "quantity": 51}] * 2, [PRICED]],
        },
        unknown=("total_amount_cents", "USER_ID", "", "__proto__", "order_ledger_id", "client", "refunded_cents"),
        optional=("currency", "reference", "metadata"),
    ),
    "request_refund": Call(
        "web",
        "POST",
        f"/orders/{LEDGER}/refunds",
        {"items": [LINE], "restock": False, "reason": "other", "note": "It was broken."},
        needs_key=True,
        bad={
            "items.0.quantity": [*BAD_COUNT, 101],
            "items.0.product_id": BAD_ID,
            "items": [*BAD_LINES, [LINE] * 51, [LINE, {}], [{**LINE, "quantity": 51}] * 2, [PRICED]],
            "amount_cents": BAD_CENTS,
            "restock": [None, 0, 1, "true", "yes", [], {}],
            "reason": ["", "because", "OTHER", None, 1, True, []],
            "note": BAD_REASON,
        },
        unknown=("amount", "refund_id", "currency", ""),
        optional=("items", "restock", "note"),
    ),
    "cancel_order (edge)": Call(
        "web",
        "POST",
        f"/orders/{LEDGER}/cancel",
        {"reason": "other", "note": "It was ordered twice."},
        needs_key=True,
        bad={
            "reason": ["", "because", "OTHER", None, 1, True, []],
            "note": [*(each for each in BAD_TEXT if len(str(each)) < 200), " ", "x" * 501],
        },
        unknown=("status", "order_id", ""),
        optional=("note",),
    ),
    "create_webhook_endpoint": Call(
        "web",
        "POST",
        "/webhook_endpoints",
        {"url": "https://shop.example/hook", "event_types": ["*"]},
        bad={
            "url": ["", "x", "ftp://shop.example", None, 1, []],
            "event_types": [[], ["order.unknown"], "*", None, 1, {}],
        },
        unknown=(),
    ),
    "list_webhook_endpoints": Call("web", "GET", "/webhook_endpoints"),
    "get_webhook_endpoint": Call("web", "GET", f"/webhook_endpoints/{ENDPOINT}"),
    "change_webhook_endpoint": Call("web", "PATCH", f"/webhook_endpoints/{ENDPOINT}", {}, unknown=("secret", "id", "")),
    "delete_webhook_endpoint": Call("web", "DELETE", f"/webhook_endpoints/{ENDPOINT}"),
    "rotate_webhook_secret": Call("web", "POST", f"/webhook_endpoints/{ENDPOINT}/rotate_secret"),
    "test_webhook_endpoint": Call("web", "POST", f"/webhook_endpoints/{ENDPOINT}/test"),
    "list_webhook_deliveries": Call("web", "GET", f"/webhook_endpoints/{ENDPOINT}/deliveries"),
    "resend_webhook_delivery": Call("web", "POST", f"/webhook_endpoints/{ENDPOINT}/deliveries/{OTHER}/resend"),
    "resend_webhook_deliveries": Call(
        "web",
        "POST",
        f"/webhook_endpoints/{ENDPOINT}/resend",
        {"since": "2026-11-29T00:00:00Z"},
        bad={"since": ["", "x", None, 1, []]},
        unknown=("until", ""),
    ),
    "list_refunds": Call("web", "GET", f"/orders/{LEDGER}/refunds"),
    "get_refund": Call("web", "GET", f"/refunds/{OTHER}"),
    "list_orders": Call("web", "GET", "/orders"),
    "list_events": Call("web", "GET", "/events"),
    "get_order (edge)": Call("web", "GET", f"/orders/{LEDGER}"),
    "create_order": Call(
        "orders_service",
        "POST",
        "/orders",
        {"order_ledger_id": OTHER, "user_id": OTHER, "total_amount_cents": 500, "currency": "USD", "items": [PRICED]},
        bad={
            "items.0.quantity": [*BAD_COUNT, 101],
            "items.0.unit_price_cents": BAD_CENTS,
            "total_amount_cents": [*BAD_CENTS, 499, 501, 1],
            "order_ledger_id": BAD_ID,
            "user_id": BAD_ID,
            "items.0.product_id": BAD_ID,
            "currency": BAD_CURRENCY,
            "items": [*BAD_LINES, [PRICED] * 51, [PRICED] * 2, [LINE], [{**PRICED, "sku": "A"}]],
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
            "sku": [*BAD_TEXT, "a b", "ä", "a\n", "a" * 101, "a/b"],
            "name": BAD_TEXT,
            "price_cents": BAD_CENTS,
            "currency": BAD_CURRENCY,
            "initial_stock": [*NOT_A_NUMBER, -1, 2**31],
        },
        unknown=("intial_stock", "stock_quantity", "id", "is_active"),
        optional=("currency", "initial_stock"),
    ),
    "list_products": Call("inventory_service", "GET", "/inventory/products"),
    "change_product": Call(
        "inventory_service",
        "PATCH",
        f"/inventory/products/{PRODUCT}",
        {"name": "Widget", "price_cents": 2999, "is_active": True},
        bad={"name": BAD_TEXT, "price_cents": BAD_CENTS, "is_active": [None, 0, 1, "true", "yes", [], {}]},
        unknown=("sku", "currency", "stock_quantity", "price", ""),
        optional=("name", "price_cents", "is_active"),
    ),
    "get_availability": Call("inventory_service", "GET", f"/inventory/products/{PRODUCT}/availability"),
    "change_stock": Call(
        "inventory_service",
        "POST",
        f"/inventory/products/{PRODUCT}/stock",
        {"quantity": 1, "reason": "warehouse_receiving", "reference_id": "PO-7", "notes": "two boxes"},
        needs_key=True,
        bad={
            "quantity": [*BAD_COUNT, 10**9 + 1, -(10**9) - 1],
            "reason": ["initial_stock", "", None, 1, [], "CORRECTION"],
            "reference_id": BAD_TEXT,
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
            "items.0.quantity": [*BAD_COUNT, 101],
            "order_id": BAD_ID,
            "items.0.product_id": BAD_ID,
            "items": [*BAD_LINES, [LINE] * 51, [PRICED]],
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
            "amount_cents": BAD_CENTS,
            "idempotency_key": BAD_KEY,
            "user_id": BAD_ID,
            "currency": BAD_CURRENCY,
            "payment_token": BAD_TOKEN,
        },
        unknown=("amount", "authorization_id"),
    ),
    "capture": Call(
        "payments_service",
        "POST",
        f"/payments/capture/{HOLD}",
        {**KEYED, "amount_cents": 1},
        bad={"amount_cents": [*BAD_CENTS, 10**11], "idempotency_key": BAD_KEY},
        unknown=("reason", "currency", "authorization_id"),
        optional=("amount_cents",),
    ),
    "void": Call(
        "payments_service",
        "POST",
        f"/payments/void/{HOLD}",
        {**KEYED, "reason": "no need"},
        bad={"reason": BAD_REASON, "idempotency_key": BAD_KEY},
        unknown=("amount_cents",),
        optional=("reason",),
    ),
    "void_by_key": Call(
        "payments_service",
        "POST",
        "/payments/void",
        {**KEYED, "authorization_key": "never seen", "reason": "no need"},
        bad={"reason": BAD_REASON, "idempotency_key": BAD_KEY, "authorization_key": BAD_KEY},
        unknown=("authorization_id",),
        optional=("reason",),
    ),
    "refund": Call(
        "payments_service",
        "POST",
        f"/payments/refund/{CAPTURED}",
        {**KEYED, "amount_cents": 1, "reason": "returned"},
        bad={"amount_cents": [*BAD_CENTS, 10**11], "idempotency_key": BAD_KEY, "reason": BAD_REASON},
        unknown=("amount",),
        optional=("amount_cents", "reason"),
    ),
    "changes": Call(
        "payments_service",
        "POST",
        "/payments/changes",
        {"noted": ["re_1"]},
        bad={"noted": [None, "re_1", [1], [""], ["re_1"] * 101]},
        unknown=("failed",),
        optional=("noted",),
    ),
    "settle_refunds": Call("payments_service", "POST", "/payments/simulate/settle_refunds"),
    "show": Call("payments_service", "GET", f"/payments/{HOLD}"),
    "payments_at_gateway": Call("payments_service", "GET", "/payments/gateway/payments"),
    "refunds_at_gateway": Call("payments_service", "GET", "/payments/gateway/refunds"),
    "payment_at_gateway": Call("payments_service", "GET", "/payments/gateway/payment"),
}
# The Edge API takes the same bodies, and forwards them.
CALLS |= {
    f"{name} (edge)": replace(CALLS[name], service="web", path=CALLS[name].path.removeprefix("/inventory"))
    for name in ("create_product", "list_products", "change_product", "change_stock")
} | {"get_product": Call("web", "GET", f"/products/{PRODUCT}")}
