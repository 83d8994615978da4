"""The shop's own reference and metadata of an order, and what of it was refunded or cancelled."""

from __future__ import annotations

import logging

import pytest

from tests.edge_api.conftest import PRICE_CENTS

# The fingerprint that an earlier release stored for this body, which has no reference and no metadata.
OLD_BODY = {
    "user_id": "7b9d2c2e-1111-4222-8333-123456789abc",
    "email": "a@b.example",
    "items": [{"product_id": "00000000-0000-4000-8000-000000000001", "quantity": 2}],
    "payment": {"method": "card", "token": "tok_visa"},
}
OLD_FINGERPRINT = "b22d1bbb81d6e1fc40aef2615832394c734af67db1daae76cd536b772c6312c5"
INSERT_OLD_PRODUCT = """
INSERT INTO products (id, sku, name, price_cents, stock_quantity) VALUES (%(id)s, 'OLD', 'Old', 5, 0)
"""
MANY = {str(number): "" for number in range(50)}
LARGEST = {f"{number:040}": "v" * 500 for number in range(15)} | {"rest": "v" * (8192 - 15 * 540 - 4)}


def shown(shop, response):
    return shop.app.test_client().get(response.headers["Location"]).json


@pytest.mark.parametrize("reference", ["x", "2026-1742", "№ 7 — größer", "r" * 255, "' OR 1=1 --"])
def test_reference_comes_back(shop, reference):
    assert shown(shop, shop.order(reference=reference))["reference"] == reference


@pytest.mark.parametrize(
    "metadata",
    [{}, {"channel": "web"}, {"n" * 40: "v" * 500}, {"two lines": "a\nb", "empty": ""}, LARGEST, MANY],
    ids=["none", "one", "longest", "lines", "8 KiB", "50"],
)
def test_metadata_comes_back(shop, metadata):
    assert shown(shop, shop.order(metadata=metadata))["metadata"] == metadata


def test_metadata_of_more_than_8_kib_is_refused(shop):
    response = shop.order(metadata={**LARGEST, "rest": LARGEST["rest"] + "v"})
    assert (response.status_code, response.json["details"]) == (400, {"metadata": ["At most 8 KiB together."]})


def test_several_orders_may_have_one_reference(shop):
    ids = {shop.order(key, reference="2026-1742").json["order_ledger_id"] for key in ("first", "second")}
    assert len(ids) == 2


def test_body_without_them_keeps_its_old_fingerprint(shop, sql, entry):
    sql(INSERT_OLD_PRODUCT, id=OLD_BODY["items"][0]["product_id"])
    first = shop.post(json=OLD_BODY)
    assert entry()["fingerprint"] == OLD_FINGERPRINT
    again = shop.post(json=OLD_BODY)
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")


@pytest.mark.parametrize("change", [{"reference": "r"}, {"metadata": {}}, {"metadata": {"a": "b"}}])
def test_fingerprint_has_what_was_sent(shop, change):
    shop.order()
    assert shop.order(**change).json["error"] == "idempotency_key_reused"


def test_repeat_needs_the_same_metadata_in_any_order(shop):
    first = shop.order(metadata={"a": "1", "b": "2"})
    assert shop.order(metadata={"b": "2", "a": "1"}).json == first.json
    assert shop.order(metadata={"a": "1", "b": "3"}).json["error"] == "idempotency_key_reused"


def test_neither_reaches_a_log_or_another_service(shop, inventory, payments, caplog):
    with caplog.at_level(logging.DEBUG):
        shop.order(reference="canary", metadata={"canary": "canary"})
        shop.order("other", metadata={"canary" * 20: 1})
    assert "canary" not in caplog.text
    assert "canary" not in str(inventory.bodies + payments.bodies)


@pytest.mark.parametrize(("cents", "status"), [(0, "none"), (1, "partial"), (2 * PRICE_CENTS, "full")])
def test_refund_status_follows_from_the_refunded_amount(shop, sql, cents, status):
    order = shop.order()
    sql("SET session_replication_role = replica; UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL")
    sql("UPDATE order_ledger SET refunded_cents = %(cents)s, refund_reserved_cents = %(cents)s", cents=cents)
    body = shown(shop, order)
    assert (body["refunded_cents"], body["refund_status"]) == (cents, status)
