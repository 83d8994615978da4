"""Products in the console: what it shows, and changes that the inventory service makes once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.at_once import at_once
from tests.console.desk import Desk, text_of
from tests.console.shelves import Inventory, add_product, inventory, key_of_page, operator, record, viewer
from tests.edge_api.neighbours import Held, answer_lost, answered, request_lost

__all__ = ["add_product", "inventory", "operator", "record", "viewer"]  # fixtures

Sql = Callable[..., list[dict[str, Any]]]
Add = Callable[..., str]
STOCK = {"quantity": "5", "reason": "warehouse_receiving"}
ADJUSTMENT = """
INSERT INTO inventory_adjustments (id, product_id, quantity, reason, notes, created_at)
SELECT gen_random_uuid(), %(product)s, n, 'correction', 'note ' || n, '2026-01-01'::timestamptz + n * interval '1 s'
FROM generate_series(1, %(n)s) n
"""
OPEN = """
UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = 'auth_1', order_id = %(order_id)s,
  claim_number = claim_number + 1 WHERE id = %(id)s
"""
RESERVE = """
WITH reservation AS (INSERT INTO order_reservations (order_id, status, fingerprint)
  VALUES (%(order_id)s, 'RESERVED', '') RETURNING order_id)
INSERT INTO inventory_reservations (id, order_id, product_id, quantity)
SELECT gen_random_uuid(), order_id, %(product)s, %(quantity)s FROM reservation
"""


def stock_of(sql: Sql, product: str) -> int:
    return int(sql("SELECT stock_quantity FROM products WHERE id = %(id)s", id=product)[0]["stock_quantity"])


def test_list_goes_page_by_page(viewer: Desk, add_product: Add) -> None:
    for number in range(51):
        add_product(f"sku-{number:02}")
    first = viewer.get("/products")
    assert "sku-49" in first.text
    assert "sku-50" not in first.text
    assert 'href="/products?cursor=sku-49"' in first.text
    second = viewer.get("/products", cursor="sku-49")
    assert re.findall(r">(sku-\d+)<", second.text) == ["sku-50"]
    assert 'rel="next"' not in second.text


def test_product_is_found_by_its_whole_sku(viewer: Desk, add_product: Add) -> None:
    add_product("red", name="Red <b>paint</b>")
    add_product("red-2", name="Other")
    page = viewer.get("/products", sku="red")
    assert "Red &lt;b&gt;paint&lt;/b&gt;" in page.text
    assert "Other" not in page.text
    assert "No product has this SKU" in viewer.get("/products", sku="re").text
    assert "problem" in viewer.get("/products", sku="not a sku").text


def test_page_shows_what_open_orders_have_reserved(viewer: Desk, add_product: Add, add_order: Add, sql: Sql) -> None:
    product, order_id, ended = add_product("sku-1", stock=7), str(uuid.uuid4()), str(uuid.uuid4())
    sql(OPEN, id=add_order(), order_id=order_id)
    sql(RESERVE, order_id=order_id, product=product, quantity=3)
    sql(RESERVE, order_id=ended, product=product, quantity=2)  # of an order that has ended: it was sold
    assert "In stock 7 " in text_of(viewer.get(f"/products/{product}"))
    assert "Reserved 3 " in text_of(viewer.get(f"/products/{product}"))
    assert "12.50 USD 7 3 active" in text_of(viewer.get("/products"))


def test_adjustments_are_shown_newest_first_page_by_page(viewer: Desk, add_product: Add, sql: Sql) -> None:
    product = add_product(stock=0)
    sql(ADJUSTMENT, product=product, n=21)
    first = viewer.get(f"/products/{product}")
    assert re.findall(r"note (\d+)", first.text) == [str(n) for n in range(21, 1, -1)]
    (cursor,) = re.findall(r'rel="next"[^>]*cursor=([^"&]+)"', first.text)
    assert re.findall(r"note (\d+)", viewer.get(f"/products/{product}", cursor=cursor).text) == ["1"]
    assert viewer.get(f"/products/{product}", cursor="x").status_code == 400


def test_unknown_product_is_not_found(viewer: Desk) -> None:
    assert viewer.get(f"/products/{uuid.uuid4()}").status_code == 404


def test_stock_is_added_once_and_recorded(
    operator: Desk, inventory: Inventory, add_product: Add, sql: Sql, record: Sql
) -> None:
    product = add_product("sku-1")
    page = f"/products/{product}"
    form = STOCK | {"key": key_of_page(operator, page), "notes": "for Ada Lovelace"}
    for _ in range(2):
        assert operator.post(f"{page}/stock", **form).headers["Location"] == page
    told = text_of(operator.get(page))
    assert "sku-1: stock 5 → 10. This form was sent before, and nothing was changed a second time." in told
    assert stock_of(sql, product) == 10
    assert record("products.") == [
        {
            "actor": "olga",
            "action": "products.stock",
            "details": {"product_id": product, "quantity": 5, "reason": "warehouse_receiving"},
        }
    ]


def test_form_that_is_sent_at_the_same_moment_changes_the_stock_once(
    operator: Desk, inventory: Inventory, console_app: Flask, key: Callable[..., str], add_product: Add, sql: Sql,
    record: Sql,
) -> None:  # fmt: skip
    product = add_product()
    form = STOCK | {"key": "one"}
    desks = [Desk(console_app, key("operator", name="olga")) for _ in range(4)]
    answers = at_once([lambda desk=desk: desk.post(f"/products/{product}/stock", **form) for desk in desks])
    assert {answer.status_code for answer in answers} <= {303, 503}
    assert operator.post(f"/products/{product}/stock", **form).status_code == 303
    assert (stock_of(sql, product), len(record("products."))) == (10, 1)


def test_keys_of_two_operators_are_apart(
    operator: Desk, inventory: Inventory, console_app: Flask, key: Callable[..., str], add_product: Add, sql: Sql
) -> None:
    product = add_product()
    for desk in (operator, Desk(console_app, key("operator", name="oscar"))):
        assert desk.post(f"/products/{product}/stock", **STOCK, key="one").status_code == 303
    assert stock_of(sql, product) == 15


def test_key_of_another_change_is_refused(operator: Desk, inventory: Inventory, add_product: Add, sql: Sql) -> None:
    product = add_product()
    operator.post(f"/products/{product}/stock", **STOCK, key="one")
    refused = operator.post(f"/products/{product}/stock", **STOCK | {"quantity": "6"}, key="one")
    assert refused.status_code == 422
    assert "This key has been used for another request" in refused.text
    assert operator.post(f"/products/{product}/retire", reason="old", key="one").status_code == 422
    assert stock_of(sql, product) == 10


@pytest.mark.parametrize(("form", "says"), [
    ({"quantity": "0", "reason": "correction"}, "Must not be 0"),
    ({"quantity": "-1", "reason": "warehouse_receiving"}, "Must be 1 or more"),
    ({"quantity": "1_000", "reason": "correction"}, "Not a whole number"),
    ({"quantity": "", "reason": "correction"}, "Not a whole number"),
    ({"quantity": "1", "reason": "because"}, "Must be one of"),
    ({"quantity": "2147483647", "reason": "correction"}, ""),
])  # fmt: skip
def test_bad_form_changes_nothing(
    operator: Desk, inventory: Inventory, add_product: Add, sql: Sql, form: dict[str, str], says: str
) -> None:
    product = add_product()
    refused = operator.post(f"/products/{product}/stock", **form, key="one")
    assert refused.status_code == 400
    assert "Not done." in refused.text
    assert says in refused.text
    assert stock_of(sql, product) == 5


def test_form_without_a_key_is_refused(operator: Desk, inventory: Inventory, add_product: Add, sql: Sql) -> None:
    product = add_product()
    assert operator.post(f"/products/{product}/stock", **STOCK).status_code == 400
    assert stock_of(sql, product) == 5


def test_refusal_of_the_service_is_shown_recorded_and_can_be_tried_again(
    operator: Desk, inventory: Inventory, add_product: Add, sql: Sql, record: Sql
) -> None:
    product = add_product("sku-1")
    form = {"quantity": "−6", "reason": "correction", "key": "one"}
    refused = operator.post(f"/products/{product}/stock", **form)
    assert refused.status_code == 409
    assert "There is not enough of sku-1 in stock: 6 requested, 5 available." in refused.text
    assert [row["action"] for row in record("products.")] == ["products.stock", "products.stock.refused"]
    assert record("products.stock.refused")[0]["details"]["code"] == "insufficient_stock"
    sql("UPDATE products SET stock_quantity = 6 WHERE id = %(id)s", id=product)
    assert operator.post(f"/products/{product}/stock", **form).status_code == 303
    assert stock_of(sql, product) == 0


@pytest.mark.parametrize("plan", [answer_lost(), request_lost(), answered(500, b"<html>")])
def test_stock_is_changed_once_though_the_first_answer_was_lost(
    operator: Desk, inventory: Inventory, add_product: Add, sql: Sql, record: Sql, plan: Any
) -> None:
    product = add_product()
    inventory.then(plan)
    unknown = operator.post(f"/products/{product}/stock", **STOCK, key="one")
    assert unknown.status_code == 503
    assert "Send it again: it is made once" in unknown.text
    form = unknown.text.partition("Send it again")[2].partition("</form>")[0]
    assert f'action="/products/{product}/stock"' in form
    for _ in range(2):
        again = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        assert operator.post(f"/products/{product}/stock", **again).status_code == 303
    assert (stock_of(sql, product), len(record("products."))) == (10, 1)


def test_refused_token_changes_nothing_and_says_what_to_check(
    operator: Desk, inventory: Inventory, add_product: Add, sql: Sql
) -> None:
    inventory.then(answered(403, {"error": "forbidden", "message": "no"}))
    product = add_product()
    refused = operator.post(f"/products/{product}/stock", **STOCK, key="one")
    assert (refused.status_code, "SERVICE_TOKEN_KEYS" in refused.text) == (502, True)
    assert operator.post(f"/products/{product}/stock", **STOCK, key="one").status_code == 303
    assert stock_of(sql, product) == 10


def test_name_and_price_are_changed_and_recorded_with_what_was_before(
    operator: Desk, inventory: Inventory, add_product: Add, record: Sql
) -> None:
    product = add_product("sku-1")
    form = {"was_name": "Widget", "name": "Gadget", "was_price": "12.50", "price": "99.9", "reason": "new season"}
    assert operator.post(f"/products/{product}/change", **form, key="one").status_code == 303
    assert "sku-1: Gadget, 99.90 USD." in operator.get(f"/products/{product}").text
    (row,) = record("products.")
    assert (row["actor"], row["action"]) == ("olga", "products.change")
    assert row["details"] == {
        "product_id": product,
        "changes": {"name": "Gadget", "price_cents": 9990},
        "before": {"name": "Widget", "price_cents": 1250},
        "reason": "new season",
    }


def test_only_what_was_edited_is_changed(operator: Desk, inventory: Inventory, add_product: Add, sql: Sql) -> None:
    """Somebody else has changed the price since this form was drawn."""
    product = add_product()
    old = {"was_name": "Widget", "was_price": "12.50", "price": "12.50", "reason": "typo"}
    operator.post(f"/products/{product}/change", **old | {"name": "Widget", "price": "20"}, key="one")
    operator.post(f"/products/{product}/change", **old, name="Gadget", key="two")
    (now,) = sql("SELECT name, price_cents FROM product_versions ORDER BY number DESC LIMIT 1")
    assert now == {"name": "Gadget", "price_cents": 2000}


@pytest.mark.parametrize(("changes", "says"), [
    ({}, "There is nothing to change"),
    ({"price": "1,50"}, "Must be an amount such as 12.50"),
    ({"price": "1.505"}, "Must be an amount such as 12.50"),
    ({"price": "0"}, "price cents"),
    ({"price": "-1"}, "Must be an amount"),
    ({"name": " "}, "name"),
    ({"name": "Gadget", "reason": ""}, "reason"),
])  # fmt: skip
def test_bad_name_or_price_changes_nothing(
    operator: Desk, inventory: Inventory, add_product: Add, record: Sql, changes: dict[str, str], says: str
) -> None:
    product = add_product()
    form = {"was_name": "Widget", "name": "Widget", "was_price": "12.50", "price": "12.50", "reason": "why"} | changes
    refused = operator.post(f"/products/{product}/change", **form, key="one")
    assert refused.status_code == 400
    assert says in refused.text
    assert (inventory.requests, record("products.")) == ([], [])


def test_product_is_retired_and_resumed(operator: Desk, inventory: Inventory, add_product: Add, record: Sql) -> None:
    page = f"/products/{add_product('sku-1')}"
    operator.post(f"{page}/retire", reason="sold out", key="one")
    assert "sku-1 was retired" in operator.get(page).text
    assert "Resume the sale" in operator.get(page).text
    operator.post(f"{page}/resume", reason="back", key="two")
    assert "sku-1 was put on sale again, at 12.50 USD." in operator.get(page).text
    assert [row["details"]["changes"] for row in record("products.")] == [{"is_active": False}, {"is_active": True}]


def test_late_repeat_does_not_undo_what_was_changed_since(
    operator: Desk, inventory: Inventory, add_product: Add, sql: Sql
) -> None:
    page = f"/products/{add_product()}"
    inventory.then(answer_lost())
    unknown = operator.post(f"{page}/retire", reason="old", key="one")
    assert (unknown.status_code, "Send it again" in unknown.text) == (409, False)
    assert operator.post(f"{page}/resume", reason="no", key="two").status_code == 303
    repeat = operator.post(f"{page}/retire", reason="old", key="one")
    assert (repeat.status_code, "Nothing is known about the outcome" in repeat.text) == (409, True)
    (now,) = sql("SELECT is_active FROM product_versions ORDER BY number DESC LIMIT 1")
    assert now["is_active"]


def test_repeat_while_the_first_is_under_way_is_refused(
    operator: Desk, inventory: Inventory, console_app: Flask, key: Callable[..., str], add_product: Add
) -> None:
    page, held = f"/products/{add_product()}", Held()
    inventory.then(held)

    def second() -> int:
        held.wait()
        try:
            return (
                Desk(console_app, key("operator", name="olga"))
                .post(f"{page}/retire", reason="old", key="one")
                .status_code
            )
        finally:
            held.go()

    first = lambda: operator.post(f"{page}/retire", reason="old", key="one").status_code  # noqa: E731
    assert at_once([first, second]) == [303, 409]


def test_viewer_sees_no_action_and_may_do_none(viewer: Desk, add_product: Add, sql: Sql) -> None:
    page = f"/products/{add_product()}"
    assert '<form method="post" action="/products' not in viewer.get(page).text
    for action in ("stock", "change", "retire", "resume"):
        assert viewer.post(f"{page}/{action}", **STOCK, key="one").status_code == 403
    assert sql("SELECT 1 AS one FROM edge_idempotency_keys") == []


def test_read_only_console_changes_nothing(
    console_with: Callable[..., Flask], key: Callable[..., str], add_product: Add
) -> None:
    desk = Desk(console_with(CONSOLE_READ_ONLY="on"), key("admin"))
    page = f"/products/{add_product()}"
    assert "data-opens" not in desk.get(page).text
    assert desk.post(f"{page}/stock", **STOCK, key="one").status_code == 403


def test_api_shows_and_changes_products(
    console_app: Flask, key: Callable[..., str], inventory: Inventory, add_product: Add
) -> None:
    client, product = console_app.test_client(), add_product("sku-1")
    headers = {"Authorization": f"Bearer {key('operator')}", "Idempotency-Key": "one"}
    (listed,) = client.get("/api/products", headers=headers).json["products"]
    assert (listed["sku"], listed["stock_quantity"], listed["reserved"]) == ("sku-1", 5, 0)
    body = {"quantity": 2, "reason": "correction"}
    for _ in range(2):
        changed = client.post(f"/api/products/{product}/stock", json=body, headers=headers)
        assert (changed.status_code, changed.json["stock_quantity"]) == (200, 7)
    assert [each["quantity"] for each in changed.json["adjustments"]] == [2, 5]
    change = {"price_cents": 1500, "reason": "dearer"}
    answer = client.patch(f"/api/products/{product}", json=change, headers=headers | {"Idempotency-Key": "two"})
    assert (answer.status_code, answer.json["price_cents"]) == (200, 1500)
    unknown = client.patch(f"/api/products/{uuid.uuid4()}", json=change, headers=headers | {"Idempotency-Key": "3"})
    assert (unknown.status_code, unknown.json["error"]) == (404, "product_not_found")
    nothing = client.patch(f"/api/products/{product}", json={"reason": "x"}, headers=headers)
    assert (nothing.status_code, nothing.json["error"]) == (400, "validation_error")
