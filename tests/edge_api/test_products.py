"""Products through the Edge API: forwarded to the real inventory service, with its answers and its refusals."""

from __future__ import annotations

import uuid

import pytest
import requests

from tests import credentials
from tests.credentials import edge_headers, new_key
from tests.edge_api.conftest import PRICE_CENTS
from tests.edge_api.neighbours import answer_lost, answered, changed, cut_short, request_lost

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
NEW = {"name": "Coffee", "sku": "COFFEE-1", "price_cents": 1250, "currency": "EUR", "initial_stock": 7}
DELIVERY = {"quantity": 5, "reason": "warehouse_receiving", "reference_id": "PO-7"}


@pytest.fixture
def call(edge_app):
    """`call("PATCH", "/products/…", {…}, key="k")`: the answer."""

    def send(method, path, body=None, key=None, api_key=credentials.EDGE_KEY, **query):
        headers = edge_headers(api_key) | ({"Idempotency-Key": key} if key else {})
        content = {} if body is None else {"json": body}
        return edge_app.test_client().open(path, method=method, headers=headers, query_string=query, **content)

    return send


@pytest.fixture
def product(call, url):
    return call("POST", "/products", NEW).json


def test_product_is_created(call, url):
    response = call("POST", "/products", NEW)
    assert response.status_code == 201
    assert response.headers["Location"] == f"/products/{response.json['id']}"
    assert response.json == {
        "id": response.json["id"],
        "name": "Coffee",
        "sku": "COFFEE-1",
        "price_cents": 1250,
        "currency": "EUR",
        "is_active": True,
        "stock_quantity": 7,
        "created_at": response.json["created_at"],
    }
    assert call("GET", response.headers["Location"]).json == response.json


def test_inventory_service_fills_in_what_is_left_out(call, url):
    made = call("POST", "/products", {"name": "Tea", "sku": "TEA", "price_cents": 1}).json
    assert (made["currency"], made["stock_quantity"]) == ("USD", 0)


def test_refusals_of_the_inventory_service_pass_through(call, product):
    again = call("POST", "/products", NEW)
    assert (again.status_code, again.json["error"]) == (409, "duplicate_sku")
    assert again.json["details"] == {"existing_product_id": product["id"]}
    assert product["id"] in again.json["message"]
    less = call("POST", f"/products/{product['id']}/stock", {"quantity": -8, "reason": "correction"}, key="k")
    assert (less.status_code, less.json["error"]) == (409, "insufficient_stock")
    assert less.json["details"] | {"product_sku": "COFFEE-1", "requested": 8, "available": 7} == less.json["details"]
    more = {"quantity": 10**9, "reason": "correction"}
    stock = f"/products/{product['id']}/stock"
    assert [call("POST", stock, more, key=f"more {number}").status_code for number in range(3)] == [200, 200, 400]
    assert set(call("POST", stock, more, key="more 2").json["details"]) == {"quantity"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "", None), ("PATCH", "", {"price_cents": 5}), ("PATCH", "", {}), ("POST", "/stock", DELIVERY)],
)
def test_unknown_product_is_404(call, url, method, path, body):
    response = call(method, f"/products/{UNKNOWN}{path}", body, key="k")
    assert (response.status_code, response.json["error"]) == (404, "product_not_found")
    assert response.json["details"] == {"product_ids": [UNKNOWN]}


def test_price_name_and_sale_can_be_changed(call, product):
    path = f"/products/{product['id']}"
    assert call("PATCH", path, {"price_cents": 999}).json == {**product, "price_cents": 999}
    assert call("PATCH", path, {"name": "Decaf", "is_active": False}).json == call("GET", path).json
    assert call("GET", path).json == {**product, "price_cents": 999, "name": "Decaf", "is_active": False}
    assert call("PATCH", path, {}).json == call("GET", path).json


def test_stock_change_is_made_once(call, product):
    path = f"/products/{product['id']}/stock"
    first, again = (call("POST", path, DELIVERY, key="k") for _ in range(2))
    assert (first.status_code, first.json["new_quantity"]) == (200, 12)
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    assert "Idempotency-Replayed" not in first.headers
    other = call("POST", path, {**DELIVERY, "quantity": 6}, key="k")
    assert (other.status_code, other.json["error"]) == (422, "idempotency_key_reused")


def test_two_clients_may_use_one_key(call, product, url, sql):
    other_key = new_key()
    id_, secret = credentials.client_keys.parts(other_key)
    sql(
        "INSERT INTO client_keys (id, client, secret_sha256, scopes) VALUES (%(id)s, 'till', %(digest)s, %(scopes)s)",
        id=id_, digest=credentials.client_keys.digest(secret), scopes=["products:write"],
    )  # fmt: skip
    path = f"/products/{product['id']}/stock"
    answers = [call("POST", path, DELIVERY, key="k", api_key=key) for key in (credentials.EDGE_KEY, other_key)]
    assert [answer.json["new_quantity"] for answer in answers] == [12, 17]


def test_pages_have_every_product_once(call, url):
    made = {call("POST", "/products", {**NEW, "sku": f"S-{number}"}).json["id"] for number in range(5)}
    found, query = [], {"limit": 2}
    while True:
        page = call("GET", "/products", **query).json
        found += [each["id"] for each in page["products"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == sorted(made)
    some = sorted(made)[:2]
    assert [each["id"] for each in call("GET", "/products", ids=",".join([*some, UNKNOWN])).json["products"]] == some


@pytest.mark.parametrize("query", [{"limit": 0}, {"cursor": "x"}, {"ids": "x"}, {"page": 2}])
def test_bad_query_is_refused_without_a_call(call, inventory, query):
    response = call("GET", "/products", **query)
    assert (response.status_code, set(response.json["details"])) == (400, set(query))
    assert inventory.requests == []


@pytest.mark.parametrize(
    "body", [{"price_cents": 0}, {"is_active": "true"}, {"is_active": 1}, {"sku": "X"}, {"name": ""}]
)
def test_bad_change_is_refused_without_a_call(call, inventory, body):
    response = call("PATCH", f"/products/{UNKNOWN}", body)
    assert (response.status_code, set(response.json["details"])) == (400, set(body))
    assert inventory.requests == []


PLANS = {
    "lost": request_lost(),
    "late": answer_lost(requests.ReadTimeout),
    "a proxy's": answered(502, b"<html>", "text/html"),
    "an error": answered(500, {"error": "internal_error"}),
    "busy": answered(503, {"error": "busy", "message": "busy"}),
    "our token refused": answered(403, {"error": "forbidden", "message": "no"}),
    "a 404 of another program": answered(404, {"error": "nothing here"}),
    "without its id": changed(id=...),
    "cut short": cut_short,
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_no_reliable_answer_is_503_and_the_call_can_be_repeated(call, product, inventory, plan):
    path, body = f"/products/{product['id']}", {"price_cents": 77}
    inventory.then(plan)
    response = call("PATCH", path, body)
    assert (response.status_code, response.json["error"]) == (503, "service_unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert call("PATCH", path, body).json["price_cents"] == 77


def test_request_in_progress_passes_through(call, product, inventory):
    inventory.then(answered(409, {"error": "request_in_progress", "message": "in progress"}))
    response = call("POST", f"/products/{product['id']}/stock", DELIVERY, key="k")
    assert (response.status_code, response.json["error"]) == (409, "request_in_progress")
    assert response.headers["Retry-After"] == "1"


def test_inactive_product_cannot_be_ordered(call, shop):
    path = f"/products/{shop.product_id}"
    call("PATCH", path, {"is_active": False})
    refused = shop.order()
    assert (refused.status_code, refused.json["error"]) == (422, "unknown_product")
    assert refused.json["details"] == {"product_ids": [shop.product_id]}
    call("PATCH", path, {"is_active": True})
    assert shop.order("another key").status_code == 202


def test_order_keeps_the_price_at_which_it_was_placed(call, shop):
    first = shop.order()
    call("PATCH", f"/products/{shop.product_id}", {"price_cents": 1})
    assert shop.get(first.json["order_ledger_id"]).json["items"][0]["unit_price_cents"] == PRICE_CENTS
    assert shop.order("later").json["total_amount_cents"] == 2


def test_names_are_sent_as_they_are(call, url):
    name = 'Käse "rund" 日本 😀'
    made = call("POST", "/products", {**NEW, "name": name, "sku": uuid.uuid4().hex}).json
    assert made["name"] == call("GET", f"/products/{made['id']}").json["name"] == name
