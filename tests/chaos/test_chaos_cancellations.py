"""The judge of cancellations: an order that is cancelled, then one broken promise at a time."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Judge
from tests.chaos.planted import ACCEPTED, COMPLETED, CONFIRMED, KEY, RIGHT, SENT, Lines
from tests.database.valid_rows import DIGEST, ID

CANCELLED_ORDER = """
UPDATE order_ledger SET status = 'FAILED', failure_code = 'cancelled', failure_message = '', order_id = NULL,
  compensating_from = 'AUTHORIZED', undone = '{void_payment,cancel_order}',
  cancel_requested_at = now(), cancel_reason = 'other';
UPDATE payment_authorizations SET status = 'VOIDED', capture_id = NULL, captured_amount_cents = NULL,
  captured_at = NULL, voided_at = now();
DELETE FROM orders;
"""
WANTED = {"call": "wish", "key": "cancel-1", "order": KEY, "what": "cancel"}
AGREED = {"call": "cancel", "key": "cancel-1", "answer": 202, "order_ledger_id": ID}
TOO_LATE = AGREED | {"answer": 409, "error": "order_not_cancellable", "present_status": "COMPLETED", "use": "refunds"}
SEEN_CANCELLED = COMPLETED | {"status": "FAILED", "cancellation": {"status": "done"}}
CANCELLED = [SENT, WANTED, AGREED, ACCEPTED, SEEN_CANCELLED, AGREED]
REFUSED = "UPDATE order_ledger SET cancel_requested_at = now(), cancel_reason = 'other'"
HELD = "UPDATE payment_authorizations SET status = 'AUTHORIZED', voided_at = NULL"
RESERVED = f"""
INSERT INTO order_reservations (order_id, status, fingerprint) VALUES ('{ID}', 'RESERVED', '{DIGEST}');
INSERT INTO inventory_reservations (id, order_id, product_id, quantity) VALUES ('{ID}', '{ID}', '{ID}', 1);
UPDATE order_ledger SET order_id = '{ID}';
"""
PLANTED_CANCELS = {
    "lost: accepted, and not in the ledger": ([*RIGHT, WANTED, AGREED], "", "lost"),
    "changed: accepted, and ended otherwise": (
        CANCELLED, CANCELLED_ORDER + "UPDATE order_ledger SET failure_code = 'payment_declined'", "changed"
    ),
    "changed: accepted, then refused": ([*CANCELLED, TOO_LATE], CANCELLED_ORDER, "changed"),
    "changed: too late, and cancelled": (
        [SENT, ACCEPTED, WANTED, TOO_LATE, WANTED | {"key": "cancel-2"}, AGREED | {"key": "cancel-2"}],
        CANCELLED_ORDER,
        "changed",
    ),
    "changed: seen as done, and refused": (
        [SENT, WANTED, AGREED, ACCEPTED, COMPLETED | {"cancellation": {"status": "done"}}], REFUSED, "changed"
    ),
    "wrong: money is still held": (CANCELLED, CANCELLED_ORDER + HELD, "wrong"),
    "wrong: pieces are still reserved": (CANCELLED, CANCELLED_ORDER + RESERVED, "wrong"),
    "wrong: the order is confirmed": (CANCELLED, CANCELLED_ORDER + CONFIRMED.format(id=ID), "wrong"),
    "wrong: nobody cancelled it": ([SENT, ACCEPTED], CANCELLED_ORDER, "wrong"),
    "wrong: too late without advice": ([*RIGHT, WANTED, TOO_LATE | {"use": None}], "", "wrong"),
    "open: never answered": ([*RIGHT, WANTED], "", "open"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "sql"),
    [
        (CANCELLED, CANCELLED_ORDER),
        ([*RIGHT, WANTED, TOO_LATE], ""),
        ([SENT, WANTED, AGREED, ACCEPTED, COMPLETED | {"cancellation": {"status": "refused"}}], REFUSED),
    ],
    ids=["done", "too late", "refused"],
)
def test_judge_accepts_the_ends_of_a_cancellation(judge: Judge, lines: Lines, sql: str) -> None:
    assert judge(lines, sql) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("lines", "sql", "kind"), PLANTED_CANCELS.values(), ids=PLANTED_CANCELS.keys())
def test_judge_finds_broken_promise_of_a_cancellation(judge: Judge, lines: Lines, sql: str, kind: str) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    assert kind in words.partition("What")[2], words
