"""Refunds as a shop requests and reads them. The orchestrator, which does the work, is not here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from werkzeug.test import TestResponse

from tests.edge_api.conftest import PRICE_CENTS, Shop

TO_COMPLETED = ("ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED")
TOTAL_CENTS = 2 * PRICE_CENTS
Sql = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def placed(shop: Shop) -> str:
    return str(shop.order().json["order_ledger_id"])


@pytest.fixture
def completed(placed: str, sql: Sql) -> str:
    """An order of two pieces that is completed."""
    for status in TO_COMPLETED:
        ended = ", due_at = NULL" if status == "COMPLETED" else ""
        sql(f"UPDATE order_ledger SET status = '{status}'{ended} WHERE id = %(id)s", id=placed)
    return placed


@pytest.fixture
def refund(shop: Shop, completed: str) -> Callable[..., TestResponse]:
    """`refund(amount_cents=5)`: request a refund; `key`, `of` and `query` are those of the request."""

    def request(
        key: str | None = "", of: str = "", query: str = "", headers: dict[str, str] | None = None, **body: Any
    ) -> TestResponse:
        named = {} if key is None else {"Idempotency-Key": key or uuid.uuid4().hex}
        return shop.app.test_client().post(
            f"/orders/{of or completed}/refunds{query}",
            json={"reason": "requested_by_customer", **body},
            headers={**named, **(headers or {})},
        )

    return request


def end(sql: Sql, refund_id: str, *, failed: bool = False) -> None:
    """What the orchestrator writes when a refund ends."""
    if failed:
        sql(
            "UPDATE refunds SET status = 'FAILED', due_at = NULL, failure_code = 'refund_declined',"
            " failure_message = 'The refund was declined.' WHERE id = %(id)s",
            id=refund_id,
        )
        return
    sql("UPDATE refunds SET status = 'PAYMENT_REFUNDED' WHERE id = %(id)s", id=refund_id)
    sql("UPDATE refunds SET status = 'RESTOCKED' WHERE id = %(id)s AND restock", id=refund_id)
    sql("UPDATE refunds SET status = 'SUCCEEDED', due_at = NULL WHERE id = %(id)s", id=refund_id)


def of(product_id: str, quantity: int) -> list[dict[str, Any]]:
    return [{"product_id": product_id, "quantity": quantity}]


def test_everything_that_is_left_is_refunded(refund, shop, completed):
    answer = refund(note="It was broken.", restock=True)
    assert answer.status_code == 202
    body = answer.json
    assert body["created_at"] == body["updated_at"]
    assert uuid.UUID(body["refund_id"]).version == 7
    assert {name: value for name, value in body.items() if name not in ("refund_id", "created_at", "updated_at")} == {
        "order_ledger_id": completed,
        "status": "PENDING",
        "amount_cents": TOTAL_CENTS,
        "items": of(shop.product_id, 2),
        "restock": True,
        "reason": "requested_by_customer",
        "note": "It was broken.",
        "failure": None,
    }


def test_amount_has_no_items(refund):
    body = refund(amount_cents=5).json
    assert (body["amount_cents"], body["items"], body["restock"], body["note"]) == (5, [], False, None)


def test_items_are_refunded_at_the_price_that_was_paid(refund, shop, inventory_app):
    inventory_app.test_client().patch(f"/inventory/products/{shop.product_id}", json={"price_cents": 1})
    body = refund(items=of(shop.product_id, 1) + of(shop.product_id, 1)).json
    assert (body["amount_cents"], body["items"]) == (TOTAL_CENTS, of(shop.product_id, 2))


def test_refund_of_the_rest_after_an_amount_has_all_pieces(refund, shop):
    refund(amount_cents=500)
    body = refund().json
    assert (body["amount_cents"], body["items"]) == (TOTAL_CENTS - 500, of(shop.product_id, 2))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount_cents": 5, "items": of("7b9d2c2e-1111-4222-8333-123456789abc", 1)}, "amount_cents"),
        ({"amount_cents": 5, "restock": True}, "restock"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": True}, "amount_cents"),
        ({"amount_cents": "5"}, "amount_cents"),
        ({"items": []}, "items"),
        ({"items": of("x", 1)}, "items"),
        ({"items": of("7b9d2c2e-1111-4222-8333-123456789abc", 0)}, "items"),
        ({"items": 2 * of("7b9d2c2e-1111-4222-8333-123456789abc", 51)}, "items"),
        ({"restock": "true"}, "restock"),
        ({"reason": "because"}, "reason"),
        ({"note": ""}, "note"),
        ({"note": "a\nb"}, "note"),
        ({"refund_id": "x"}, "refund_id"),
    ],
    ids=str,
)
def test_what_cannot_succeed_is_refused(refund, count, body, field):
    answer = refund(**body)
    assert (answer.status_code, answer.json["error"]) == (400, "validation_error")
    assert list(answer.json["details"]) == [field]
    assert count("refunds", "edge_idempotency_keys") == [0, 0]


def test_reason_and_key_are_needed(refund, shop, completed):
    answer = shop.app.test_client().post(f"/orders/{completed}/refunds", json={}, headers={"Idempotency-Key": "k"})
    assert answer.json["details"] == {"reason": ["Missing data for required field."]}
    assert refund(key=None).json["error"] == "missing_idempotency_key"


def test_more_than_is_left_is_refused(refund):
    refund(amount_cents=TOTAL_CENTS - 10)
    answer = refund(amount_cents=11)
    assert (answer.status_code, answer.json["error"]) == (409, "refund_exceeds_remaining")
    assert answer.json["details"] == {"remaining_cents": 10}
    assert refund(amount_cents=10).status_code == 202
    for body in ({}, {"amount_cents": 1}):
        assert refund(**body).json["details"] == {"remaining_cents": 0}


def test_more_pieces_than_are_left_are_refused(refund, shop):
    refund(items=of(shop.product_id, 1))
    stranger = str(uuid.uuid4())
    answer = refund(items=of(shop.product_id, 2) + of(stranger, 1))
    assert (answer.status_code, answer.json["error"]) == (409, "refund_exceeds_remaining")
    assert answer.json["details"] == {
        "remaining_cents": PRICE_CENTS,
        "items": [
            {"product_id": shop.product_id, "requested": 2, "remaining": 1},
            {"product_id": stranger, "requested": 1, "remaining": 0},
        ],
    }


def test_pieces_whose_money_was_refunded_as_an_amount_are_refused(refund, shop):
    refund(amount_cents=TOTAL_CENTS - 1)
    assert refund(items=of(shop.product_id, 1)).json["details"] == {"remaining_cents": 1}


def test_refusal_leaves_the_key_free(refund):
    assert refund(key="k", amount_cents=TOTAL_CENTS + 1).status_code == 409
    assert refund(key="k", amount_cents=1).status_code == 202


@pytest.mark.parametrize("status", ["AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED"])
def test_only_a_completed_order_can_be_refunded(refund, placed, shop, sql, status):
    other = str(shop.order("key-2").json["order_ledger_id"])
    for each in TO_COMPLETED[: TO_COMPLETED.index(status) + 1] if status != "AUTHORIZED" else ():
        sql(f"UPDATE order_ledger SET status = '{each}' WHERE id = %(id)s", id=other)
    answer = refund(of=other)
    assert (answer.status_code, answer.json["error"]) == (409, "order_not_refundable")
    assert answer.json["details"] == {"status": status}
    assert refund(of=other, query="?dry_run=true").json["error"] == "order_not_refundable"


def test_repeat_gets_the_first_answer(refund, count, sql):
    first = refund(key="k", amount_cents=5)
    end(sql, first.json["refund_id"])
    again = refund(key="k", amount_cents=5)
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert count("refunds") == [1]


def test_key_of_another_request_is_refused(refund, shop, completed, count):
    refund(key="k", amount_cents=5)
    other = str(shop.order("key-2").json["order_ledger_id"])
    for answer in (refund(key="k", amount_cents=6), refund(key="k", amount_cents=5, of=other)):
        assert (answer.status_code, answer.json["error"]) == (422, "idempotency_key_reused")
    assert count("refunds") == [1]


def test_one_key_at_once_makes_one_refund(refund, count):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: refund(key="k", amount_cents=5), range(16)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.json["error"] for answer in answers if answer.status_code == 409} <= {"request_in_progress"}
    assert len({answer.json["refund_id"] for answer in answers if answer.status_code == 202}) == 1
    assert count("refunds") == [1]


def test_dry_run_says_what_would_be_refunded_and_does_nothing(refund, shop, completed, count):
    answer = refund(query="?dry_run=true", items=of(shop.product_id, 1), restock=True)
    assert answer.status_code == 200
    assert answer.json == {
        "refund_id": None,
        "order_ledger_id": completed,
        "status": None,
        "amount_cents": PRICE_CENTS,
        "items": of(shop.product_id, 1),
        "restock": True,
        "reason": "requested_by_customer",
        "note": None,
        "failure": None,
        "created_at": None,
        "updated_at": None,
    }
    assert count("refunds", "edge_idempotency_keys") == [0, 0]
    assert refund(query="?dry_run=true", amount_cents=TOTAL_CENTS + 1).status_code == 409
    assert refund(query="?dry_run=yes").status_code == 400
    assert refund(query="?dry_run=false", amount_cents=1).status_code == 202


def test_sums_of_the_order_change_when_the_refund_succeeds(refund, shop, completed, sql):
    first, second = (refund(amount_cents=each).json["refund_id"] for each in (100, TOTAL_CENTS - 100))
    seen = []
    for refund_id in (first, second):
        order = shop.get(completed).json
        seen.append((order["refunded_cents"], order["refund_status"]))
        end(sql, refund_id)
    order = shop.get(completed).json
    assert [*seen, (order["refunded_cents"], order["refund_status"])] == [
        (0, "none"),
        (100, "partial"),
        (TOTAL_CENTS, "full"),
    ]


def test_failed_refund_changes_nothing_and_can_be_tried_again(refund, shop, completed, sql):
    refund_id = refund(items=of(shop.product_id, 2), key="k").json["refund_id"]
    end(sql, refund_id, failed=True)
    shown = shop.app.test_client().get(f"/refunds/{refund_id}").json
    assert shown["status"] == "FAILED"
    assert shown["failure"] == {"code": "refund_declined", "message": "The refund was declined."}
    assert shop.get(completed).json["refunded_cents"] == 0
    assert refund(items=of(shop.product_id, 2), key="k").json["refund_id"] == refund_id
    assert refund(items=of(shop.product_id, 2)).status_code == 202


def test_refunds_are_listed_oldest_first(refund, shop, completed):
    made = [refund(amount_cents=each).json for each in (1, 2, 3)]
    assert shop.app.test_client().get(f"/orders/{completed}/refunds").json == {"refunds": made}
    assert shop.app.test_client().get(f"/refunds/{made[1]['refund_id']}").json == made[1]


def test_another_clients_refunds_are_not_found(refund, shop, completed, url):
    from tests.credentials import add_key, new_key  # noqa: PLC0415

    key = new_key()
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        add_key(cursor, key, client="other")
    refund_id = refund(amount_cents=1).json["refund_id"]
    stranger = {"Authorization": f"Bearer {key}"}
    for path in (f"/refunds/{refund_id}", f"/orders/{completed}/refunds", f"/refunds/{uuid.uuid4()}"):
        answer = shop.app.test_client().get(path, headers=stranger)
        assert (answer.status_code, answer.json["error"]) == (404, "not_found")
    for query in ("", "?dry_run=true"):
        answer = refund(headers=stranger, query=query)
        assert (answer.status_code, answer.json["error"]) == (404, "not_found")


def test_wait_ends_with_the_refund(refund, shop, sql, in_background):
    refund_id = refund(amount_cents=1).json["refund_id"]
    waiting = in_background.submit(lambda: shop.app.test_client().get(f"/refunds/{refund_id}?wait=30").json)
    end(sql, refund_id)
    assert waiting.result(timeout=20)["status"] == "SUCCEEDED"


def test_request_wakes_the_orchestrators(refund, url):
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("LISTEN refund_events")
            refund(amount_cents=1)
            cursor.execute("SELECT 1")
            connection.poll()
            assert [notification.payload for notification in connection.notifies] == [""]
