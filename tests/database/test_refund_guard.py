"""The database itself bounds refunds, and refuses what the state machine does not have. Whoever writes, by hand too."""

from __future__ import annotations

import psycopg2
import pytest

from domain.refunds import FAILED_LATER, LEGAL_MOVES, RefundStatus
from tests.database.valid_rows import BEFORE, ID, OTHER_ID, VALID

SUMS = "SELECT refunded_cents, refund_reserved_cents, refunded_quantity FROM order_ledger, order_ledger_items"
ENDED = ("SUCCEEDED", "FAILED")


@pytest.fixture
def order(sql):
    """A completed order of 999 with two pieces."""
    sql.insert("order_ledger", VALID["order_ledger"])
    sql.insert("order_ledger_items", VALID["order_ledger_items"] | {"quantity": 2})
    sql(BEFORE["refunds"])
    return sql


@pytest.fixture
def add(order):
    """`add(amount_cents=5)`: a refund; its id."""

    def insert(pieces=0, **changes):
        row = VALID["refunds"] | changes
        order.insert("refunds", row)
        if pieces:
            order.insert("refund_items", {"refund_id": row["id"], "product_id": ID, "quantity": pieces})
        return row["id"]

    return insert


def move(sql, status, **more):
    """Change the only refund's status, with what the other constraints ask for."""
    changes = {"status": status, "due_at": None if status in ENDED else "now", **more}
    if status == "FAILED":
        changes = {"failure_code": FAILED_LATER, "failure_message": "why"} | changes
    sql(f"UPDATE refunds SET {', '.join(f'{name} = %({name})s' for name in changes)}", **changes)


def refusal(do, *arguments, **more):
    with pytest.raises(psycopg2.errors.CheckViolation) as caught:
        do(*arguments, **more)
    return caught.value.diag.constraint_name


def test_refund_takes_its_share_at_once(order, add):
    add(amount_cents=400, pieces=1)
    assert order(SUMS) == [(0, 400, 1)]


def test_refunds_together_never_exceed_the_order(order, add):
    add(amount_cents=600)
    assert refusal(add, id=OTHER_ID, amount_cents=400) == "ck_order_ledger_refund_reserved_cents"
    add(id=OTHER_ID, amount_cents=399)
    assert order(SUMS) == [(0, 999, 0)]


def test_pieces_together_never_exceed_the_order(order, add):
    add(amount_cents=1, pieces=1)
    assert refusal(add, id=OTHER_ID, amount_cents=1, pieces=2) == "ck_order_ledger_items_refunded_quantity"


def test_piece_that_was_not_bought_is_refused(order, add):
    add(amount_cents=1)
    row = {"refund_id": ID, "product_id": OTHER_ID, "quantity": 1}
    assert refusal(order.insert, "refund_items", row) == "refund_items_of_order"


def test_pieces_are_added_to_new_refunds_only(order, add):
    add(amount_cents=1)
    move(order, "PAYMENT_REFUNDED")
    assert refusal(order.insert, "refund_items", VALID["refund_items"]) == "refund_items_of_order"


@pytest.mark.parametrize("status", ["AUTHORIZED", "PAYMENT_CAPTURED"])
def test_only_a_completed_order_is_refunded(sql, status):
    sql.insert("order_ledger", VALID["order_ledger"])
    sql(BEFORE["refunds"].replace("'COMPLETED', due_at = NULL", f"'{status}'"))
    assert refusal(sql.insert, "refunds", VALID["refunds"]) == "refunds_of_completed"


def test_success_adds_to_the_refunded_sum(order, add):
    add(amount_cents=400, pieces=1)
    move(order, "PAYMENT_REFUNDED")
    assert order(SUMS) == [(0, 400, 1)]
    move(order, "SUCCEEDED")
    assert order(SUMS) == [(400, 400, 1)]


def test_failure_gives_the_share_back(order, add):
    add(amount_cents=400, pieces=1)
    move(order, "FAILED")
    assert order(SUMS) == [(0, 0, 0)]
    add(id=OTHER_ID, amount_cents=999, pieces=2)


@pytest.mark.parametrize(
    ("walk", "event"),
    [
        (["PAYMENT_REFUNDED", "SUCCEEDED"], ("refund.succeeded", "COMPLETED", 400, ID)),
        (["FAILED"], ("refund.failed", "COMPLETED", 0, ID)),
    ],
)
def test_end_is_told_once_with_the_sums_after_it(order, add, walk, event):
    add(amount_cents=400, pieces=1)
    for status in walk:
        move(order, status)
    assert order("SELECT type, status, refunded_cents, refund_id::text FROM events") == [event]


def test_refund_that_fails_later_gives_its_money_back_and_is_told(order, add):
    add(amount_cents=400, pieces=1)
    for status in ("PAYMENT_REFUNDED", "SUCCEEDED", "FAILED"):
        move(order, status)
    assert order(SUMS) == [(0, 0, 0)]
    told = order("SELECT type, refunded_cents FROM events ORDER BY sequence")
    assert told == [("refund.succeeded", 400), ("refund.failed", 0)]


def test_piece_that_is_in_stock_again_stays_refunded_when_the_refund_fails_later(order, add):
    add(amount_cents=400, pieces=1, restock=True)
    move(order, "PAYMENT_REFUNDED")
    move(order, "RESTOCKED", restocked="{" + ID + "}")
    move(order, "SUCCEEDED")
    move(order, "FAILED")
    assert order(SUMS) == [(0, 0, 1)]
    add(id=OTHER_ID, amount_cents=999)


@pytest.mark.parametrize(
    "change", [{"failure_code": "x"}, {"restocked": "{}"}, {"not_restocked": "{" + OTHER_ID + "}"}]
)
def test_refund_fails_later_for_that_reason_only_and_keeps_its_pieces(order, add, change):
    add(amount_cents=400, pieces=1, restock=True)
    move(order, "PAYMENT_REFUNDED")
    move(order, "RESTOCKED", restocked="{" + ID + "}")
    move(order, "SUCCEEDED")
    assert refusal(move, order, "FAILED", **change) in ("refunds_legal_move", "ck_refunds_money_comes_first")


@pytest.mark.parametrize("status", RefundStatus)
def test_refund_begins_as_requested(order, add, status):
    ended = {"due_at": None} if status.is_terminal else {}
    failed = {"failure_code": "x", "failure_message": "why"} if status == RefundStatus.FAILED else {}
    if status == RefundStatus.REQUESTED:
        add(restock=True)
    else:
        assert refusal(add, restock=True, status=status.value, **ended, **failed) == "refunds_legal_move"


PATHS = {
    RefundStatus.REQUESTED: (),
    RefundStatus.PAYMENT_REFUNDED: ("PAYMENT_REFUNDED",),
    RefundStatus.RESTOCKED: ("PAYMENT_REFUNDED", "RESTOCKED"),
    RefundStatus.SUCCEEDED: ("PAYMENT_REFUNDED", "RESTOCKED", "SUCCEEDED"),
    RefundStatus.FAILED: ("FAILED",),
}


@pytest.mark.parametrize("to", RefundStatus)
@pytest.mark.parametrize("status", RefundStatus)
def test_only_legal_moves_are_accepted(order, add, status, to):
    add(restock=True)
    for each in PATHS[status]:
        move(order, each)
    # With pieces to put back, a refund does not skip that step.
    legal = LEGAL_MOVES[status] - ({RefundStatus.SUCCEEDED} if status == RefundStatus.PAYMENT_REFUNDED else set())
    if to in legal or to == status:
        move(order, to.value)
    else:
        with pytest.raises(psycopg2.errors.CheckViolation):
            move(
                order,
                to.value,
                **({} if to == RefundStatus.FAILED else {"failure_code": None, "failure_message": None}),
            )


def test_without_restock_the_refund_ends_after_the_money(order, add):
    add()
    move(order, "PAYMENT_REFUNDED")
    assert refusal(move, order, "RESTOCKED") in ("ck_refunds_restock", "refunds_legal_move")
    move(order, "SUCCEEDED")


@pytest.mark.parametrize(
    "change",
    [
        "amount_cents = 1",
        "claim_number = claim_number - 1",
        "restocked = '{}'",
        "not_restocked = '{}'",
        "restock = false",
    ],
)
def test_what_was_agreed_and_done_does_not_change(order, add, change):
    add(restock=True, claim_number=3)
    move(order, "PAYMENT_REFUNDED", restocked="{" + ID + "}", not_restocked="{" + OTHER_ID + "}")
    assert refusal(order, f"UPDATE refunds SET {change}") in ("refunds_legal_move", "ck_refunds_not_restocked")


def test_no_product_is_refused_after_the_refund_has_ended(order, add):
    add(restock=True)
    for status in PATHS[RefundStatus.SUCCEEDED]:
        move(order, status)
    assert refusal(order, "UPDATE refunds SET not_restocked = ARRAY[id]") == "refunds_legal_move"


def test_nobody_may_call_the_guards(order):
    functions = order("SELECT proname, prosecdef, proacl::text FROM pg_proc WHERE proname LIKE 'refund%guard'")
    assert sorted(name for name, _, _ in functions) == ["refund_guard", "refund_item_guard"]
    for _, has_owners_rights, rights in functions:
        assert has_owners_rights
        assert "=X/" not in f",{rights.strip('{}')}".replace(f"{order('SELECT current_user')[0][0]}=X/", "")
