"""`python -m ops retain`: what it deletes, what it keeps, and that the books agree afterwards."""

from __future__ import annotations

import json

import pytest

from ops.__main__ import main
from ops.batches import LOCK_ID
from tests.books import violations
from tests.ops.old_orders import age, clock, place_all_kinds
from tests.other_session import other_session

__all__ = ["clock"]

ORDER_TABLES = (
    "order_ledger", "order_ledger_items", "order_ledger_history", "outbox", "events", "orders", "order_items",
    "order_reservations", "inventory_reservations", "payment_authorizations", "payment_refunds",
    "payment_idempotency_keys", "attempts",
)  # fmt: skip


@pytest.fixture
def retain(url, capsys):
    def run(**settings):
        days = {f"RETAIN_{name.upper()}_DAYS": str(value) for name, value in ({"events": 0} | settings).items()}
        code = main(["retain"], {"DATABASE_URL": url, "APP_ENV": "test", **days})
        captured = capsys.readouterr()
        assert (code, captured.err) == (0, "")
        return captured.out

    return run


@pytest.fixture
def old(world, clock):
    """Orders of every kind that ended 100 days ago."""
    clock(100)
    place_all_kinds(world)
    age(world, 100)
    clock(0)
    return world


def count(world, table):
    return world.sql(f"SELECT count(*) FROM {table}")[0][0]


def counts(world):
    return {table: count(world, table) for table in ORDER_TABLES}


def repeat(world, key, quantity=2, **order):
    product = world.sql("SELECT id::text FROM products ORDER BY created_at LIMIT 1")[0][0]
    return world.order(product, quantity=quantity, key=key, **order)


def test_nothing_is_deleted_by_default(old, retain):
    before = counts(old)
    assert retain() == "Nothing was due to be deleted.\n"
    assert counts(old) == before


def test_old_orders_are_deleted_in_every_table_and_the_books_agree(old, retain, url):
    old.sql("INSERT INTO order_notes (order_ledger_id, author, text) SELECT id, 'ada', 'a note' FROM order_ledger")
    old.sql("INSERT INTO dealt_with SELECT id, now(), 'ada', 'why', 5 FROM order_ledger")
    assert all(counts(old).values())
    assert retain(orders=90) == "Deleted: 6 orders.\n"
    assert counts(old) == dict.fromkeys(ORDER_TABLES, 0)
    assert (count(old, "order_notes"), count(old, "dealt_with")) == (0, 0)
    assert violations(url) == {}
    assert old.sql("SELECT sum(quantity) FROM deleted_reservations") == [(4,)]


def test_orders_that_are_not_old_enough_stay(old, retain, url):
    place_all_kinds(old, prefix="new ")
    assert retain(orders=90) == "Deleted: 6 orders.\n"
    assert count(old, "order_ledger") == 6
    assert violations(url) == {}
    assert retain(orders=90) == "Nothing was due to be deleted.\n"


def test_open_order_stays_until_it_has_ended(world, clock, retain, url):
    clock(100)
    world.order(world.product())
    age(world, 100)
    assert retain(orders=90, answers=1, history=7, outbox=30) == "Nothing was due to be deleted.\n"
    world.work()
    age(world, 100)
    assert "1 orders" in retain(orders=90)
    assert violations(url) == {}


def test_key_of_a_deleted_order_has_no_second_effect(old, retain):
    retain(orders=90)
    again = repeat(old, "completed")
    assert (again.status_code, again.json["error"]) == (409, "request_expired")
    assert again.headers["Idempotency-Replayed"] == "true"
    other = repeat(old, "completed", quantity=3)
    assert (other.status_code, other.json["error"]) == (422, "idempotency_key_reused")
    assert counts(old) == dict.fromkeys(ORDER_TABLES, 0)


def test_key_is_forgotten_only_after_its_own_period(old, retain):
    retain(orders=90)
    assert retain(orders=90, keys=400) == "Nothing was due to be deleted.\n"
    age(old, 350)
    assert retain(orders=90, keys=400) == "Deleted: 7 keys.\n"
    assert repeat(old, "completed").status_code == 202


def test_old_answers_are_deleted_and_their_keys_stay(old, retain, url):
    id_ = old.sql("SELECT id::text FROM order_ledger WHERE client_request_id = 'completed'")[0][0]
    out = retain(answers=30)
    assert "answers" in out
    again = repeat(old, "completed")
    assert (again.status_code, again.json["error"]) == (409, "request_expired")
    assert again.json["details"] == {"order_ledger_id": id_}
    assert repeat(old, "completed", quantity=3).status_code == 422
    assert count(old, "payment_idempotency_keys") > 0
    assert old.sql("SELECT count(body) FROM payment_idempotency_keys") == [(0,)]
    assert retain(answers=30) == "Nothing was due to be deleted.\n"
    assert violations(url) == {}


def test_participant_refuses_a_repeat_whose_answer_was_deleted(old, retain):
    retain(answers=30)
    (id_, key, cents) = old.sql(
        "SELECT id, idempotency_key, amount_cents FROM payment_authorizations WHERE status = 'CAPTURED' LIMIT 1"
    )[0]
    body = {"idempotency_key": key.replace("authorize", "capture"), "amount_cents": cents}
    again = old.apps[8300].test_client().post(f"/payments/capture/{id_}", json=body)
    assert (again.status_code, again.json["error"]) == (409, "request_expired")


def test_answer_that_an_open_saga_may_need_stays(world, clock, retain):
    clock(100)
    world.order(world.product())
    age(world, 100)
    retain(answers=1)
    assert world.sql("SELECT count(*) FROM payment_idempotency_keys WHERE body IS NULL") == [(0,)]


def test_history_and_events_can_go_before_the_order(old, retain, url):
    assert retain(history=30, outbox=60) == "Deleted: 8 attempts, 6 histories, 6 outbox events.\n"
    assert (count(old, "order_ledger_history"), count(old, "outbox")) == (0, 0)
    assert violations(url) == {}
    id_ = old.sql("SELECT id::text FROM order_ledger LIMIT 1")[0][0]
    shown = old.edge.test_client().get(f"/orders/{id_}")
    assert (shown.status_code, shown.json["timeline"]) == (200, [])
    assert "6 orders" in retain(orders=90)
    assert violations(url) == {}


def test_attempts_go_with_the_history_unless_they_are_young_or_of_an_open_refund(old, retain):
    retain(history=30)
    assert count(old, "attempts") == 0
    refund = "11111111-1111-4111-8111-111111111111"
    for days, refund_id in ((20, None), (40, None), (40, refund)):
        old.sql(
            "INSERT INTO attempts (order_ledger_id, refund_id, step, attempt, began_at, took_ms, kind, message,"
            " request_id) SELECT id, %(refund_id)s, 'refund_payment', 1, now() - %(days)s * interval '1 day', 1,"
            " 'unanswered', 'x', 'r' FROM order_ledger WHERE status = 'COMPLETED' LIMIT 1",
            days=days, refund_id=refund_id,
        )  # fmt: skip
    old.sql(
        "SET session_replication_role = replica;"
        " INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id)"
        " SELECT refund_id, order_ledger_id, 'k', 1, false, 'other', 'r' FROM attempts WHERE refund_id IS NOT NULL;"
        " SET session_replication_role = origin"
    )
    assert retain(history=30) == "Deleted: 1 attempts.\n"
    old.sql(
        "SET session_replication_role = replica; UPDATE refunds SET status = 'SUCCEEDED', due_at = NULL;"
        " SET session_replication_role = origin"
    )
    assert retain(history=30) == "Deleted: 1 attempts.\n"
    assert count(old, "attempts") == 1


def test_history_that_vanished_otherwise_is_still_a_violation(old, url):
    old.sql("DELETE FROM order_ledger_history")
    old.sql("DELETE FROM outbox")
    assert set(violations(url)) == {"history", "outbox"}


def test_order_that_the_audit_reports_is_not_deleted(old, retain, url):
    old.sql("UPDATE payment_authorizations SET refunded_amount_cents = 1 WHERE status = 'CAPTURED'")
    reported = violations(url)
    assert reported
    retain(orders=90)
    assert violations(url) == reported
    assert old.sql("SELECT count(*) FROM order_ledger WHERE status = 'COMPLETED'") == [(2,)]


@pytest.mark.parametrize("table", ["order_ledger", "orders", "payment_authorizations", "order_reservations"])
def test_locked_row_delays_only_its_own_order(old, retain, url, table):
    with other_session(url) as cursor:
        cursor.execute(f"SELECT 1 FROM {table} ORDER BY created_at LIMIT 1 FOR UPDATE")
        assert retain(orders=90).startswith("Deleted: 5 orders.\n")
        assert violations(url) == {}
    assert "1 orders" in retain(orders=90)


def test_product_that_somebody_holds_delays_nothing(old, retain, url):
    with other_session(url) as cursor:
        cursor.execute("SELECT 1 FROM products FOR UPDATE")
        assert retain(orders=90) == "Deleted: 6 orders.\n"


def test_only_one_process_deletes_at_a_time(old, url, capsys):
    with other_session(url) as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK_ID,))
        assert main(["retain"], {"DATABASE_URL": url, "RETAIN_ORDERS_DAYS": "90"}) == 2
    assert "another `ops retain` or `ops erase` is running" in capsys.readouterr().err


def test_record_says_what_was_deleted(old, retain):
    retain(orders=90)
    ((details,),) = old.sql("SELECT details FROM operator_log WHERE action = 'retain' ORDER BY at DESC LIMIT 1")
    assert details["deleted"] == {"orders": 6}
    assert details["days"]["orders"] == 90
    assert "a@b.example" not in json.dumps(details)


@pytest.fixture
def refunded(world, clock):
    """`refunded("tok_visa")`: an order of long ago with a refund that puts a piece back into stock.

    Returns the order, and the body and the response of the request with key `k`.
    """

    def make(token):
        clock(100)
        product = world.product(stock=10)
        order = world.order(product, token=token).json["order_ledger_id"]
        world.work()
        body = {"items": [{"product_id": product, "quantity": 1}], "restock": True}
        answer = world.refund(order, key="k", **body)
        world.run_once()
        age(world, 100)
        clock(0)
        world.sql("UPDATE edge_idempotency_keys SET created_at = created_at - interval '500 days'")
        world.sql("UPDATE inventory_idempotency_keys SET created_at = created_at - interval '500 days'")
        world.sql("UPDATE payment_idempotency_keys SET created_at = created_at - interval '500 days'")
        return order, body, answer

    return make


def test_refunds_are_deleted_with_their_order_and_the_books_agree(world, refunded, retain, url):
    refunded("tok_visa")
    assert retain(orders=90) == "Deleted: 1 orders.\n"
    tables = (*ORDER_TABLES, "refunds", "refund_items")
    assert {table: count(world, table) for table in tables} == dict.fromkeys(tables, 0)
    assert world.sql("SELECT stock_quantity FROM products") == [(9,)]
    assert violations(url) == {}


def test_order_with_an_open_refund_stays_with_everything_that_the_refund_may_ask_for(world, refunded, retain, url):
    order, body, answer = refunded("pending_refund")
    world.sql("INSERT INTO inventory_idempotency_keys SELECT 'stock', 'restock:' || id || ':x', 'f', 200, '{}',"
              " now() - interval '500 days' FROM refunds")  # fmt: skip
    retain(orders=90, answers=1, keys=400)
    assert [count(world, table) for table in ("order_ledger", "refunds")] == [1, 1]
    assert world.sql("SELECT count(*) FROM payment_idempotency_keys WHERE scope = 'refund' AND body <> ''") == [(1,)]
    assert world.sql("SELECT status, body FROM inventory_idempotency_keys") == [(200, "{}")]
    again = world.refund(order, key="k", **body)
    assert (again.status_code, again.json) == (202, answer.json)
    assert count(world, "refunds") == 1
    world.call(8300, "/payments/simulate/settle_refunds")
    world.sql("UPDATE refunds SET due_at = now()")
    world.work()
    assert world.sql("SELECT status FROM refunds") == [("SUCCEEDED",)]
    assert violations(url) == {}
    retain(answers=1, keys=400)
    assert count(world, "edge_idempotency_keys") == 0


@pytest.mark.parametrize(
    "change", ["needs_attention_at = now(), attention_reason = 'restock was refused'", "updated_at = now()"]
)
def test_order_stays_while_its_refund_needs_attention_or_is_young(world, refunded, retain, change):
    refunded("tok_visa")
    world.sql(f"UPDATE refunds SET {change}")
    assert retain(orders=90) == "Nothing was due to be deleted.\n"
