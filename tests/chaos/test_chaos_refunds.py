"""The judge of refunds: two pieces of an order are refunded and put back, then one broken promise at a time."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Judge
from tests.chaos.planted import KEY, RIGHT, Lines
from tests.database.valid_rows import ID, OTHER_ID

REFUND = "33333333-3333-4333-8333-333333333333"
OTHER_REFUND = "44444444-4444-4444-8444-444444444444"
REFUND_ROW = f"""
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id, status, due_at)
VALUES ('{{id}}', '{ID}', '{{key}}', 400, true, 'other', 'r1', 'SUCCEEDED', NULL);
INSERT INTO refund_items (refund_id, product_id, quantity) VALUES ('{{id}}', '{ID}', 2);
"""
RETURNED = """
INSERT INTO payment_refunds (id, authorization_id, idempotency_key, amount_cents)
VALUES ('re_{n}', 'auth_1', 'refund:{id}', 400);
UPDATE payment_authorizations SET refunded_amount_cents = refunded_amount_cents + 400;
"""
RESTOCKED = f"""
INSERT INTO inventory_adjustments (id, product_id, quantity, reason, reference_id)
VALUES (gen_random_uuid(), '{ID}', 2, 'return_to_stock', '{REFUND}');
"""
COUNTED = "UPDATE order_ledger SET refunded_cents = 400, refund_reserved_cents = 400;"
COUNTED_TWICE = COUNTED.replace("400", "800")
FAILED_REFUND = "UPDATE refunds SET status = 'FAILED', failure_code = 'x', failure_message = 'x'"
REFUNDED = REFUND_ROW.format(id=REFUND, key="refund-1") + RETURNED.format(n=1, id=REFUND) + RESTOCKED + COUNTED
ITEMS = [{"product_id": ID, "quantity": 2}]
ASKED = {
    "call": "wish",
    "key": "refund-1",
    "order": KEY,
    "what": "refund",
    "asked": {"amount_cents": None, "items": ITEMS, "restock": True},
}
GRANTED = {
    "call": "refund",
    "key": "refund-1",
    "sent": 3.0,
    "at": 3.1,
    "answer": 202,
    "refund_id": REFUND,
    "amount_cents": 400,
    "items": ITEMS,
    "restock": True,
}
EXCEEDED = GRANTED | {"sent": 2.0, "at": 2.1, "answer": 409, "error": "refund_exceeds_remaining", "refund_id": None}
ENDED = {"call": "look at refund", "key": REFUND, "answer": 200, "status": "SUCCEEDED"}
WITH_REFUND = [*RIGHT, ASKED, EXCEEDED, GRANTED, ENDED, GRANTED | {"replayed": True}]
PLANTED_REFUNDS = {
    "lost: not in the books": (WITH_REFUND, "", "lost"),
    "lost: not counted": (WITH_REFUND, REFUNDED + "UPDATE order_ledger SET refunded_cents = 0", "lost"),
    "doubled: two refunds under one key": (
        WITH_REFUND, REFUNDED + REFUND_ROW.format(id=OTHER_REFUND, key="refund-1"), "doubled"
    ),
    "doubled: two promises under one key": ([*WITH_REFUND, GRANTED | {"refund_id": OTHER_REFUND}], REFUNDED, "doubled"),
    "doubled: counted twice": (WITH_REFUND, REFUNDED + COUNTED_TWICE, "doubled"),
    "doubled: the gateway returned it twice": (
        WITH_REFUND, REFUNDED + "UPDATE payment_refunds SET amount_cents = 800", "doubled"
    ),
    "doubled: put back twice": (WITH_REFUND, REFUNDED + RESTOCKED, "doubled"),
    "changed: another amount": (WITH_REFUND, REFUNDED + "UPDATE refunds SET amount_cents = 399", "changed"),
    "changed: another end": ([*WITH_REFUND, ENDED | {"status": "FAILED"}], REFUNDED, "changed"),
    "changed: accepted, then refused": ([*WITH_REFUND, EXCEEDED | {"sent": 4.0}], REFUNDED, "changed"),
    "changed: refused, and in the books": ([*RIGHT, ASKED, EXCEEDED], REFUNDED, "changed"),
    "wrong: nobody asked for it": (RIGHT, REFUNDED, "wrong"),
    "wrong: another product": (WITH_REFUND, REFUNDED + f"UPDATE refund_items SET product_id = '{OTHER_ID}'", "wrong"),
    "doubled: the customer has paid more than is due": (
        WITH_REFUND, REFUNDED + "UPDATE payment_authorizations SET refunded_amount_cents = 0", "doubled"
    ),
    "wrong: nothing put back": (WITH_REFUND, REFUNDED + "DELETE FROM inventory_adjustments", "wrong"),
    "wrong: refused by the gateway for no reason": (
        [*RIGHT, ASKED, GRANTED], REFUND_ROW.format(id=REFUND, key="refund-1") + FAILED_REFUND,
        "wrong",
    ),
    "wrong: refused although enough was left": (
        [*RIGHT, ASKED | {"asked": {"amount_cents": 999}}, EXCEEDED], "", "wrong"
    ),
    "open: never answered": ([*RIGHT, ASKED], "", "open"),
    "open: not ended": (WITH_REFUND, REFUNDED + "UPDATE refunds SET status = 'RESTOCKED', due_at = now()", "open"),
}  # fmt: skip


def test_judge_accepts_a_refund(judge: Judge) -> None:
    assert judge(WITH_REFUND, REFUNDED) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("lines", "sql", "kind"), PLANTED_REFUNDS.values(), ids=PLANTED_REFUNDS.keys())
def test_judge_finds_broken_promise_of_a_refund(judge: Judge, lines: Lines, sql: str, kind: str) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    assert kind in words.partition("What")[2], words
