"""The search box and the list of orders, on books with an order in every state."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from flask import Flask

from common.database.database import Database
from console.search import search
from tests.audit.every_state import Books
from tests.console.desk import Desk, new_key, text_of
from tests.database.conftest import Sql

AddOrder = Callable[..., str]
# What a person may paste → the query that finds it in the books.
IDS = {
    "order": "SELECT id::text FROM order_ledger WHERE client_request_id = 'returned'",
    "orders service": "SELECT order_id::text FROM order_ledger WHERE client_request_id = 'failed'",
    "payment": "SELECT payment_authorization_id FROM order_ledger WHERE client_request_id = 'completed'",
    "capture": "SELECT capture_id FROM payment_authorizations WHERE capture_id IS NOT NULL LIMIT 1",
    "refund": "SELECT id::text FROM refunds WHERE idempotency_key = 'returning'",
    "refund of a payment": "SELECT id FROM payment_refunds WHERE idempotency_key LIKE 'refund:%%' LIMIT 1",
    "reservation": "SELECT id::text FROM inventory_reservations LIMIT 1",
    "idempotency key": "SELECT 'captured'",
    "request of a refund": "SELECT 'request-of-a-refund'",
    "idempotency key of a refund": "SELECT 'key-of-a-refund'",
    "payment at the gateway": "SELECT 'pi_0123456789'",
    "refund at the gateway": "SELECT 're_at0gateway'",
    "request": "SELECT request_id FROM order_ledger WHERE client_request_id = 'held'",
    "event": "SELECT id FROM events ORDER BY xid DESC, position DESC LIMIT 1",
    "delivery": "SELECT id::text FROM webhook_deliveries WHERE order_ledger_id IS NOT NULL LIMIT 1",
}
ODD = ["", " ", "%", "%s", "%(text)s", "'", "' OR true --", "\\", "\x00", "a" * 400, "<b>", "ü@ü", "@",
       "auth_", "auth_00000000", "re_x", "99999999-1111-4111-8111-111111111111", "1" * 32, "{}", "\u202e", "🦊",
       "urn:uuid:99999999-1111-4111-8111-111111111111", "{99999999-1111-4111-8111-111111111111}"]  # fmt: skip


# What a remote gateway was asked, and the request of a refund.
OF_ELSEWHERE = """
INSERT INTO gateway_holds
    (authorization_key, authorization_id, gateway, gateway_id, amount_cents, currency, fingerprint)
  SELECT idempotency_key, id, 'stripe', 'pi_0123456789', 1, 'USD', repeat('0', 64) FROM payment_authorizations LIMIT 1;
INSERT INTO gateway_refunds (id, authorization_id, idempotency_key, fingerprint, amount_cents, gateway_id)
  SELECT id, authorization_id, 'k', repeat('0', 64), 1, 're_at0gateway' FROM payment_refunds LIMIT 1;
ALTER TABLE refunds DISABLE TRIGGER USER;
UPDATE refunds SET request_id = 'request-of-a-refund', idempotency_key = 'key-of-a-refund'
  WHERE idempotency_key = 'returned';
ALTER TABLE refunds ENABLE TRIGGER USER
"""
# Results that are not orders → the query that finds it, and where its page begins.
THINGS = {
    "product": ("SELECT id::text FROM products LIMIT 1", "/products/"),
    "sku": ("SELECT sku FROM products LIMIT 1", "/products/"),
    "job": ("SELECT id::text FROM bulk_jobs LIMIT 1", "/jobs/"),
    "webhook endpoint": ("SELECT id FROM webhook_endpoints LIMIT 1", "/webhooks/"),
}
A_JOB = """
INSERT INTO bulk_jobs (author, key, fingerprint, action, filter, reason, rate_per_s)
VALUES ('ada', 'k', repeat('0', 64), 'retry', '{}', 'why', 5) ON CONFLICT DO NOTHING
"""


@pytest.fixture(scope="module")
def in_books(books: Books, books_app: Flask) -> Desk:
    with closing(Sql(books[0])) as sql:
        sql(OF_ELSEWHERE)
        sql(A_JOB)
    return Desk(books_app, new_key(books[0]))


@pytest.mark.parametrize(("kind", "query"), IDS.items())
def test_each_kind_of_id_opens_its_order(in_books: Desk, books: Books, kind: str, query: str) -> None:
    with closing(Sql(books[0])) as sql, closing(Database(books[0], name="console", size=1)) as database:
        ((text,),) = sql(query, x=1)
        (found,) = search(database, text)
    assert found["found_by"] == kind
    answer = in_books.get("/search", q=f" {text} ")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/orders/{found['order_ledger_id']}")
    assert in_books.get(f"/orders/{found['order_ledger_id']}").status_code == 200


@pytest.mark.parametrize(("query", "page"), THINGS.values(), ids=THINGS)
def test_what_is_no_order_opens_its_own_page(in_books: Desk, books: Books, query: str, page: str) -> None:
    with closing(Sql(books[0])) as sql:
        ((text,),) = sql(query)
    answer = in_books.get("/search", q=text)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(page)
    assert in_books.get(answer.headers["Location"]).status_code == 200


def test_a_product_and_an_order_with_the_same_text_are_both_listed(
    console_app: Flask, desk: Desk, add_order: AddOrder, sql: Any, key: Any
) -> None:
    order = add_order(reference="both-1")
    sql(
        "INSERT INTO products (id, sku, name, price_cents, currency, stock_quantity)"
        " VALUES (gen_random_uuid(), 'both-1', 'x', 1, 'USD', 0)"
    )
    page = desk.get("/search", q="both-1")
    assert "Product both-1" in text_of(page)
    assert f"/orders/{order}" in page.text
    headers = {"Authorization": f"Bearer {key()}"}
    found = console_app.test_client().get("/api/search?q=both-1", headers=headers).json
    assert [(each["kind"], each["name"]) for each in found["others"]] == [("product", "both-1")]
    assert [each["order_ledger_id"] for each in found["orders"]] == [order]


@pytest.mark.parametrize("since", ["2026-01-02", "2026-01-02T00:00", "2026-01-02T00:00:00", "2026-01-02T00:00:00.000Z",
                                   "2026-01-02T01:00:00+01:00"])  # fmt: skip
def test_times_are_taken_as_inputs_send_them(desk: Desk, add_order: AddOrder, since: str) -> None:
    add_order(created_at="2026-01-01T23:59:59Z")
    fits = add_order(created_at="2026-01-02T00:00:00Z")
    page = desk.get("/orders", created_from=since)
    assert rows(page) == [fits]
    assert 'type="datetime-local" step="1" name="created_from" value="2026-01-02T00:00:00"' in page.text


@pytest.mark.parametrize(("lease", "said"), [("1 minute", "in flight at o-1"), ("-1 minute", "due")])
def test_order_of_an_expired_lease_is_not_called_in_flight(
    desk: Desk, add_order: AddOrder, sql: Any, lease: str, said: str
) -> None:
    claim = "UPDATE order_ledger SET claimed_by = 'o-1', claimed_until = now() + %(lease)s::interval WHERE id = %(id)s"
    sql(claim, lease=lease, id=add_order(retry_count=1))
    listed = text_of(desk.get("/orders"))
    assert re.search(rf"awaiting authorization {said}.*, after 1 failed try ", listed), listed


@pytest.mark.parametrize(("text", "kind"), [
    ("A@B.example", "e-mail"), ("r-1", "reference"), ("7b9d2c2e-1111-4222-8333-123456789abc", "user"),
])  # fmt: skip
def test_what_several_orders_have_lists_them(
    console_app: Flask, desk: Desk, add_order: AddOrder, text: str, kind: str
) -> None:
    common = {"reference": "r-1", "user_id": "7b9d2c2e-1111-4222-8333-123456789abc"}
    ids = {add_order(client=client, **common) for client in ("shop", "till")}
    add_order(reference="r-2", email="b@b.example")
    page = desk.get("/search", q=text)
    assert page.status_code == 200
    assert "2 orders belong to" in text_of(page)
    assert all(f"/orders/{id_}" in page.text for id_ in ids)
    assert f"<td>{kind}</td>" in page.text


def test_only_the_newest_are_shown(desk: Desk, add_order: AddOrder) -> None:
    for number in range(51):
        add_order(reference="r-1", created_at=f"2026-01-01T00:00:{number:02}Z")
    page = desk.get("/search", q="r-1")
    assert "the newest 50 are shown" in text_of(page)
    assert page.text.count('<td><a class="id"') == 50


@pytest.mark.parametrize("text", ODD)
def test_odd_text_finds_nothing(desk: Desk, add_order: AddOrder, text: str) -> None:
    add_order()
    answer = desk.get("/search", q=text)
    assert answer.status_code == 200, answer.text
    assert "<b>" not in answer.text.partition("<main")[2]


@pytest.mark.parametrize("text", ODD)
def test_api_of_the_search_refuses_odd_text_or_finds_nothing(console_app: Flask, url: str, text: str) -> None:
    headers = {"Authorization": f"Bearer {new_key(url)}"}
    answer = console_app.test_client().get("/api/search", query_string={"q": text}, headers=headers)
    assert (answer.status_code, answer.json.get("orders", [])) in ((200, []), (400, [])), answer.text


def test_an_id_of_two_kinds_finds_both(desk: Desk, add_order: AddOrder) -> None:
    first = add_order()
    second = add_order(reference=first)
    found = desk.get("/search", q=first).text
    assert f"/orders/{first}" in found
    assert f"/orders/{second}" in found


def rows(page: Any) -> list[str]:
    return [part.split('"')[0] for part in page.text.split('href="/orders/')[1:]]


def test_pages_of_the_list_have_every_order_once(desk: Desk, add_order: AddOrder) -> None:
    clients = ("shop", "till", "kiosk")
    times = [f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z" for number in range(123)]
    placed = [add_order(client=clients[number % 3], created_at=time) for number, time in enumerate(times)]
    seen, page = [], desk.get("/orders")
    while True:
        seen += rows(page)
        if 'rel="next"' not in page.text:
            break
        more = page.text.partition('rel="next"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
        page = desk.get(more)
    assert seen == placed[::-1]


@pytest.mark.parametrize(("filters", "fits"), [
    ({"client": "till"}, "till"), ({"reference": "r-1"}, "reference"), ({"email": "C@b.example"}, "email"),
    ({"needs_attention": "true"}, "attention"), ({"created_before": "2020-01-01T00:00:00Z"}, "old"),
    ({"status": "COMPLETED"}, None),
    ({"status": "AWAITING_AUTHORIZATION", "client": "till"}, "till"),
    ({"reference": "r-1", "client": "till"}, None),
])  # fmt: skip
def test_filters_of_the_list(desk: Desk, add_order: AddOrder, filters: dict[str, str], fits: str | None) -> None:
    ids = {
        "till": add_order(client="till"),
        "reference": add_order(reference="r-1"),
        "email": add_order(email="c@b.example"),
        "attention": add_order(needs_attention_at="2026-01-01T00:00:00Z", attention_reason="why"),
        "old": add_order(created_at="2019-01-01T00:00:00Z"),
    }
    page = desk.get("/orders", **filters)
    assert rows(page) == ([ids[fits]] if fits else [])
    assert ("No matching orders." in page.text) == (fits is None)


def test_list_offers_what_is_in_flight_and_what_is_new(desk: Desk, add_order: AddOrder) -> None:
    new, old = add_order(), add_order(created_at="2019-01-01T00:00:00Z")
    page = desk.get("/orders", created_before="2020-01-01T00:00:00Z")
    (in_flight,) = re.findall(r'<option value="([\w,]+)">all in flight<', page.text)
    assert rows(desk.get("/orders", status=in_flight)) == [new, old]
    (last_hour,) = re.findall(r'<a href="([^"]+)">hour</a>', page.text)
    assert rows(desk.get(last_hour.replace("&amp;", "&"))) == [new]


def test_filter_by_several_states_is_kept_in_the_form(desk: Desk) -> None:
    page = desk.get("/orders", status="FAILED,COMPENSATING")
    assert '<option value="FAILED,COMPENSATING" selected>failed,compensating</option>' in page.text


@pytest.mark.parametrize(("name", "value"), [
    ("status", "LOST"), ("user_id", "x"), ("created_from", "yesterday"), ("cursor", "x"), ("limit", "5000"),
    ("no_such_filter", "x"), ("client", "x" * 65), ("needs_attention", "maybe"),
])  # fmt: skip
def test_bad_filter_is_named_on_the_page(desk: Desk, name: str, value: str) -> None:
    page = desk.get("/orders", **{name: value})
    assert page.status_code == 200
    assert f'id="problem-{name}"' in page.text


def test_every_state_has_its_page(in_books: Desk, books: Books) -> None:
    for name, id_ in books[1].items():
        if not name.startswith("refund_") and name != "product":
            page = in_books.get(f"/orders/{id_}")
            assert page.status_code == 200, name
            assert ">yes</span></h2>" in page.text, f"the books of {name} agree"
            assert in_books.get(f"/orders/{id_}/live").status_code == 200


def test_api_shows_an_order_in_every_state(books: Books, books_app: Flask) -> None:
    headers = {"Authorization": f"Bearer {new_key(books[0])}"}
    for name, id_ in books[1].items():
        if not name.startswith("refund_") and name != "product":
            answer = books_app.test_client().get(f"/api/orders/{id_}", headers=headers)
            assert (answer.status_code, answer.json["order_ledger_id"]) == (200, id_)
            assert answer.json["verdict"]["agrees"]
