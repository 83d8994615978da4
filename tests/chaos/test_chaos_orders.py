"""The judge of orders: one order that is right, then one broken promise at a time."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Judge
from tests.chaos.planted import (
    ACCEPTED,
    COMPLETED,
    CONCURRENT_LOOK,
    CONFIRMED,
    DECLINED,
    ENTRY,
    KEY,
    LATER,
    LATER_LOOK,
    PAID,
    RIGHT,
    SENT,
    Lines,
)
from tests.database.valid_rows import NOW, OTHER_ID

PLANTED = {
    "lost: its entry is gone": (RIGHT, "DELETE FROM order_ledger", "lost"),
    "lost: its entry has another key": (RIGHT, f"UPDATE order_ledger SET client_request_id = '{LATER}'", "lost"),
    "lost: not found when looked at": ([*RIGHT, COMPLETED | {"answer": 404, "status": None}], "", "lost"),
    "lost: one entry for two": ([*RIGHT, SENT | {"key": LATER}, ACCEPTED | {"key": LATER}], "", "lost"),
    "doubled: two entries": (RIGHT, ENTRY.format(id=OTHER_ID, client="other", key=KEY), "doubled"),
    "doubled: two promises": ([*RIGHT, ACCEPTED | {"order_ledger_id": OTHER_ID}], "", "doubled"),
    "doubled: charged twice": (RIGHT, PAID.format(n=2), "doubled"),
    "doubled: two confirmed orders": (RIGHT, CONFIRMED.format(id=OTHER_ID), "doubled"),
    "changed: another total": ([*RIGHT, ACCEPTED | {"total_amount_cents": 1}], "", "changed"),
    "changed: declined, then accepted": ([SENT, DECLINED, ACCEPTED], "", "changed"),
    "changed: declined, and sold": ([SENT, DECLINED], "", "changed"),
    "changed: abandoned, and sold": ([SENT, DECLINED | {"answer": 409, "error": "request_abandoned"}], "", "changed"),
    "changed: another end": ([SENT, ACCEPTED, COMPLETED | {"status": "FAILED"}], "", "changed"),
    "changed: another end, later": ([SENT, ACCEPTED, COMPLETED | {"status": "FAILED"}, LATER_LOOK], "", "changed"),
    "changed: ended, then open": ([*RIGHT, LATER_LOOK | {"status": "AUTHORIZED"}], "", "changed"),
    "wrong: sold and not paid": (RIGHT, "DELETE FROM payment_authorizations", "wrong"),
    "wrong: sold and not confirmed": (RIGHT, "DELETE FROM orders", "wrong"),
    "wrong: another total than sent": ([SENT | {"total_amount_cents": 998}, *RIGHT[1:]], "", "wrong"),
    "wrong: a capture that was refused": ([SENT | {"token": "tok_fail_capture"}, *RIGHT[1:]], "", "wrong"),
    "wrong: nobody sent it": ([], "", "wrong"),
    "wrong: paid, and no entry": ([], "DELETE FROM order_ledger", "wrong"),
    "wrong: an answer that the contract does not have": ([*RIGHT, ACCEPTED | {"answer": 500}], "", "wrong"),
    "open: never answered": ([SENT], "", "open"),
    "open: not ended": (RIGHT, f"UPDATE order_ledger SET status = 'PAYMENT_CAPTURED', due_at = '{NOW}'", "open"),
}


def test_judge_accepts_kept_promises(judge: Judge) -> None:
    assert judge(RIGHT) == (0, "Every promise was kept.")


def test_judge_accepts_an_older_state_in_a_concurrent_answer(judge: Judge) -> None:
    assert judge([*RIGHT, CONCURRENT_LOOK | {"status": "PAYMENT_CAPTURED"}]) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("lines", "sql", "kind"), PLANTED.values(), ids=PLANTED.keys())
def test_judge_finds_broken_promise(judge: Judge, lines: Lines, sql: str, kind: str) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    table = words.partition("What")[2]
    assert kind in table, words
