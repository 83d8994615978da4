"""`POST /orders/{id}/cancel`. tests/faults/test_cancel_races.py has the races against a running saga."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.edge_api.conftest import CLOSE_ABANDONED, MARK_ABANDONED, Shop
from tests.edge_api.neighbours import Held, Neighbour, request_lost

REASON = {"reason": "requested_by_customer"}
# As the orchestrator does it.
COMPLETE = """
UPDATE order_ledger SET status = 'ORDER_CREATED';
UPDATE order_ledger SET status = 'INVENTORY_RESERVED';
UPDATE order_ledger SET status = 'PAYMENT_CAPTURED';
UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL
"""
FAIL = """
UPDATE order_ledger SET status = 'COMPENSATING', compensating_from = 'AUTHORIZED', failure_code = 'x';
UPDATE order_ledger SET status = 'FAILED', undone = '{void_payment,cancel_order}', due_at = NULL
"""
Sql = Callable[..., Any]


def cancel(shop: Shop, order_ledger_id: str, key: str | None = "c-1", **body: Any) -> TestResponse:
    headers = {**shop.headers, **({} if key is None else {"Idempotency-Key": key})}
    return shop.app.test_client().post(f"/orders/{order_ledger_id}/cancel", headers=headers, json=REASON | body)


@pytest.fixture
def order(shop: Shop) -> str:
    return str(shop.order().json["order_ledger_id"])


def test_wish_is_written_and_answered_with_the_order(shop: Shop, order: str, sql: Sql) -> None:
    response = cancel(shop, order, note="Called the hotline.")
    assert response.status_code == 202
    now = shop.get(order).json
    assert response.json == now
    assert now["cancellation"] == {
        "requested_at": now["cancellation"]["requested_at"], "reason": "requested_by_customer", "status": "pending",
    }  # fmt: skip
    assert (now["status"], now["failure"]) == ("AUTHORIZED", None)
    (row,) = sql("SELECT cancel_note, due_at <= now() AS is_due FROM order_ledger")
    assert dict(row) == {"cancel_note": "Called the hotline.", "is_due": True}


def test_repeat_gets_the_first_answer_again(shop: Shop, order: str, sql: Sql) -> None:
    first = cancel(shop, order)
    sql(COMPLETE)
    again = cancel(shop, order)
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert shop.get(order).json["cancellation"]["status"] == "refused"


def test_key_is_for_one_order_and_one_body(shop: Shop, order: str) -> None:
    other = shop.order("key-2").json["order_ledger_id"]
    cancel(shop, order)
    for response in (cancel(shop, other), cancel(shop, order, reason="duplicate"), cancel(shop, order, note="a")):
        assert (response.status_code, response.json["error"]) == (422, "idempotency_key_reused")
    assert shop.get(other).json["cancellation"] is None
    assert cancel(shop, other, "key-2").status_code == 202, "the keys of orders are apart"


def test_second_wish_changes_nothing(shop: Shop, order: str) -> None:
    first = cancel(shop, order).json["cancellation"]
    assert cancel(shop, order, "c-2", reason="fraudulent", note="b").json["cancellation"] == first


@pytest.mark.parametrize(
    ("end", "status", "details"),
    [(COMPLETE, "COMPLETED", {"use": "refunds"}), (FAIL, "FAILED", {}), (None, "AUTHORIZATION_FAILED", {})],
)
def test_order_that_has_ended_cannot_be_cancelled(
    shop: Shop, sql: Sql, end: str | None, status: str, details: dict[str, str]
) -> None:
    order = shop.order(token="tok_visa" if end else "decline_stolen").json
    id_ = order.get("order_ledger_id") or order["details"]["order_ledger_id"]
    if end:
        sql(end)
    for _ in range(2):
        response = cancel(shop, id_)
        assert (response.status_code, response.json["error"]) == (409, "order_not_cancellable")
        assert response.json["details"] == {"status": status, **details}
    assert shop.get(id_).json["cancellation"] is None


def test_unknown_and_foreign_orders_are_both_not_found(shop: Shop, order: str, shop_of: Callable[[str], Shop]) -> None:
    unknown, foreign = cancel(shop, str(uuid.uuid4())), cancel(shop_of("bob"), order)
    assert unknown.status_code == foreign.status_code == 404
    assert set(unknown.json) == set(foreign.json)
    assert shop.get(order).json["cancellation"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "because"}, "reason"),
        ({"reason": None}, "reason"),
        ({"note": ""}, "note"),
        ({"note": "x" * 501}, "note"),
        ({"note": "\x00"}, "note"),
        ({"reaso": "other"}, "reaso"),
    ],
)
def test_bad_body_is_refused(shop: Shop, order: str, body: dict[str, Any], field: str) -> None:
    response = cancel(shop, order, **body)
    assert response.status_code == 400
    assert field in response.json.get("details", {"note": "\x00 is malformed JSON here"})
    assert shop.get(order).json["cancellation"] is None


def test_key_is_needed(shop: Shop, order: str) -> None:
    assert cancel(shop, order, None).json["error"] == "missing_idempotency_key"


# An order that is not authorized yet


def test_unanswered_order_is_closed_when_it_is_cancelled(shop: Shop, payments: Neighbour, sql: Sql) -> None:
    payments.then(request_lost())
    assert shop.order().status_code == 503
    ((order,),) = [tuple(row.values()) for row in sql("SELECT id FROM order_ledger")]
    assert cancel(shop, order).json["status"] == "AWAITING_AUTHORIZATION"
    (row,) = sql("SELECT due_at <= now() AS is_due FROM order_ledger")
    assert row["is_due"], "the orchestrator closes it now"
    assert shop.order().json["error"] == "request_in_progress", "a repeat does not continue it"
    sql(MARK_ABANDONED)
    sql(CLOSE_ABANDONED)
    now = shop.get(order).json
    assert now["cancellation"]["status"] == "done"
    assert shop.order().json["error"] == "request_abandoned"


def test_order_that_is_declined_after_a_cancel_is_cancelled(
    shop: Shop, payments: Neighbour, in_background: ThreadPoolExecutor, sql: Sql
) -> None:
    payments.then(held := Held())
    placed = in_background.submit(shop.order, token="decline_stolen")
    held.wait()
    order = sql("SELECT id FROM order_ledger")[0]["id"]
    assert cancel(shop, order).status_code == 202
    held.go()
    assert placed.result().json["error"] == "payment_declined"
    now = shop.get(order).json
    assert (now["failure"]["code"], now["cancellation"]["status"]) == ("cancelled", "done")
    assert [row["type"] for row in sql("SELECT type FROM events")] == ["order.cancelled"]


# Personal data


def test_stored_answer_holds_nothing_of_a_person(shop: Shop, sql: Sql) -> None:
    order = shop.order(reference="Ada's order", metadata={"gift_for": "Ada"}).json["order_ledger_id"]
    first = cancel(shop, order)
    (row,) = sql("SELECT body FROM edge_idempotency_keys")
    for personal in ("a@b.example", "Ada", "7b9d2c2e-1111-4222-8333-123456789abc"):
        assert personal in first.text
        assert personal not in row["body"]
    sql("UPDATE order_ledger SET email = 'erased@erased.invalid', metadata = NULL")
    again = cancel(shop, order).json
    assert (again["email"], again["metadata"]) == ("erased@erased.invalid", {})
    assert again["cancellation"] == first.json["cancellation"]
