"""A client's view of its order, at once or as soon as it has ended."""

from __future__ import annotations

import uuid
from concurrent.futures import wait
from datetime import datetime

import pytest

from common.database.prepared import prepared
from edge_api.store import TERMINAL
from tests.edge_api.conftest import PRICE_CENTS, USER_ID
from tests.edge_api.neighbours import PATIENCE_S, request_lost

ORDER_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
# The orchestrator's writes on the way to the end, abridged.
WALK = """
UPDATE order_ledger SET status = 'ORDER_CREATED', order_id = %(order_id)s;
UPDATE order_ledger SET status = 'INVENTORY_RESERVED', retry_count = 2, next_retry_at = '2030-01-02 03:04:05.6+00',
  status_detail = 'third attempt', needs_attention_at = '2030-01-02 03:04:05+00', attention_reason = 'x';
"""
FINISH = """
UPDATE order_ledger SET status = 'PAYMENT_CAPTURED', retry_count = 0, next_retry_at = NULL, status_detail = NULL;
UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL;
"""
WAITING = f"""
SELECT pid FROM pg_stat_activity WHERE application_name = 'edge_api'
  AND query LIKE '%%{prepared(TERMINAL).name}%%' AND query_start > %(since)s
"""


def is_time(text):
    return text.endswith("Z") and datetime.fromisoformat(text).tzinfo is not None


def test_body_has_every_field(shop, entry):
    items = [{"product_id": shop.product_id, "quantity": 2}]
    shop.order("my key", items=items)
    row = entry()
    response = shop.get(row["id"])
    assert response.status_code == 200
    body = response.json
    timeline, times = body.pop("timeline"), [body.pop("created_at"), body.pop("updated_at")]
    assert body == {
        "order_ledger_id": row["id"],
        "client_request_id": "my key",
        "status": "AUTHORIZED",
        "user_id": USER_ID,
        "email": "a@b.example",
        "reference": None,
        "metadata": {},
        "total_amount_cents": 2 * PRICE_CENTS,
        "refunded_cents": 0,
        "refund_status": "none",
        "currency": "USD",
        "cancellation": None,
        "payment_authorization_id": row["payment_authorization_id"],
        "order_id": None,
        "retry_count": 0,
        "next_retry_at": None,
        "needs_attention_at": None,
        "failure": None,
        "items": [{**items[0], "unit_price_cents": PRICE_CENTS}],
    }
    assert [(step["status"], step["detail"]) for step in timeline] == [
        ("AWAITING_AUTHORIZATION", None),
        ("AUTHORIZED", None),
    ]
    assert all(set(step) == {"status", "at", "detail"} for step in timeline)
    assert all(map(is_time, [*times, *(step["at"] for step in timeline)]))


def test_order_in_progress_shows_its_timeline(shop, sql):
    location = shop.order().headers["Location"]
    sql(WALK, order_id=ORDER_ID)
    body = shop.app.test_client().get(location).json
    shown = ("status", "order_id", "retry_count", "next_retry_at", "needs_attention_at")
    assert [body[name] for name in shown] == [
        "INVENTORY_RESERVED", ORDER_ID, 2, "2030-01-02T03:04:05.600000Z", "2030-01-02T03:04:05.000000Z"
    ]  # fmt: skip
    assert body["timeline"][-1]["detail"] == "third attempt"
    sql(FINISH)
    body = shop.app.test_client().get(location).json
    assert [step["status"] for step in body["timeline"]] == [
        "AWAITING_AUTHORIZATION", "AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED"
    ]  # fmt: skip
    assert [step["at"] for step in body["timeline"]] == sorted(step["at"] for step in body["timeline"])
    assert body["failure"] is None


def test_declined_order_shows_the_reason(shop, entry):
    shop.order(token="tok_decline_stolen")
    body = shop.get(entry()["id"]).json
    assert (body["status"], body["payment_authorization_id"]) == ("AUTHORIZATION_FAILED", None)
    assert body["failure"]["code"] == "payment_declined"
    assert "card_declined" in body["failure"]["message"]
    assert body["timeline"][-1] == {**body["timeline"][-1], "status": "AUTHORIZATION_FAILED"}


def test_order_awaiting_authorization_has_no_failure(shop, payments, entry):
    payments.then(request_lost())
    shop.order()
    body = shop.get(entry()["id"].upper()).json
    assert (body["status"], body["failure"]) == ("AWAITING_AUTHORIZATION", None)


@pytest.mark.parametrize("query", [{}, {"wait": 30}])
@pytest.mark.parametrize(
    "order_ledger_id", ["0b5c9c1e-6f5f-4f8e-9d53-6d1f3c7e2a10", "1", "x" * 36, "%00", "'--", "../orders"]
)
def test_unknown_order_is_404(shop, order_ledger_id, query):
    shop.order()
    response = shop.get(order_ledger_id, **query)
    assert (response.status_code, response.json["error"]) == (404, "not_found")
    assert response.json["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("value", ["30.1", "31", "-1", "", "x", "nan", "inf", "1e400", "true", "1,5", "\0"])
def test_bad_wait_is_refused(shop, value):
    response = shop.get(shop.order().json["order_ledger_id"], wait=value)
    assert (response.status_code, response.json["error"]) == (400, "validation_error")
    assert list(response.json["details"]) == ["wait"]


@pytest.mark.parametrize(("query", "field"), [("wait=1&wait=2", "wait"), ("wiat=1", "wiat")])
def test_bad_query_is_refused(shop, query, field):
    order_ledger_id = shop.order().json["order_ledger_id"]
    response = shop.app.test_client().get(f"/orders/{order_ledger_id}?{query}")
    assert (response.status_code, list(response.json["details"])) == (400, [field])


@pytest.mark.parametrize("wait_s", [0, 0.01, "0.02"])
def test_wait_ends_when_its_time_is_up(shop, wait_s):
    response = shop.get(shop.order().json["order_ledger_id"], wait=wait_s)
    assert (response.status_code, response.json["status"]) == (200, "AUTHORIZED")


def test_wait_for_an_ended_order_returns_at_once(shop, entry):
    shop.order(token="tok_decline_stolen")
    assert shop.get(entry()["id"], wait=30).json["status"] == "AUTHORIZATION_FAILED"


@pytest.fixture
def until(sql):
    """Wait for a row that a statement finds."""

    def wait_until(statement, **params):
        for _ in range(PATIENCE_S * 100):
            if sql("SELECT pg_sleep(0.01)") and sql(statement, **params):
                return
        pytest.fail(f"no row appeared: {statement}")

    return wait_until


def test_wait_ends_with_the_order(shop_with, sql, until, in_background):
    shop = shop_with(WEB_THREADS="1")  # one may wait
    order_ledger_id = shop.order().json["order_ledger_id"]
    assert shop.get(str(uuid.uuid4()), wait=30).status_code == 404  # the previous wait has ended
    sql(WALK, order_id=ORDER_ID)
    since = sql("SELECT clock_timestamp() AS now")[0]["now"]
    answer = in_background.submit(shop.get, order_ledger_id, wait=30)
    until(WAITING, since=since)
    assert not answer.done()
    sql(FINISH)
    assert answer.result(PATIENCE_S).json["status"] == "COMPLETED"


def test_client_without_room_to_wait_is_told_when_to_ask_again(shop_with, sql, in_background):
    """Without a server that parks requests, each wait holds a thread, and only so many may wait."""
    shop = shop_with(WEB_THREADS="2")
    order_ledger_id = shop.order().json["order_ledger_id"]
    sql(WALK, order_id=ORDER_ID)
    answers = [in_background.submit(shop.get, order_ledger_id, wait=30) for _ in range(5)]
    pending = answers
    while len(pending) > 2:
        done, pending = wait(pending, PATIENCE_S, return_when="FIRST_COMPLETED")
        for answer in done:
            assert answer.result().json["status"] == "INVENTORY_RESERVED"
            assert answer.result().headers["Retry-After"] == "1"
    assert shop.order("another").status_code == 202
    assert not any(answer.done() for answer in pending)
    sql(FINISH.replace(";", " WHERE client_request_id = 'key-1';"))
    assert {answer.result(PATIENCE_S).json["status"] for answer in pending} == {"COMPLETED"}
