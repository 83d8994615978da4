"""Saved compensations on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.calls.client import No, Nothing, Yes
from common.database.database import Database, Row
from orchestrator.saga import RetryPolicy, Saga, after
from orchestrator.store import Store

POLICY = RetryPolicy(jitter=0)
Make = Callable[[], str]
Read = Callable[[str], Row]
Change = Callable[[str, str], None]


def undo(store: Store, saga: Saga) -> Saga:
    """The next undo is answered with yes."""
    now = after(saga, Yes({}), POLICY)
    assert store.save(saga, now)
    return now


def test_each_undo_is_saved(store: Store, authorized: Make, row: Read, change: Change) -> None:
    """After a crash, the next owner continues with the next undo."""
    id_ = authorized()
    (saga,) = store.claim(1)
    back = after(saga, No("x", ""), POLICY)
    assert store.save(saga, back)
    after_first = undo(store, back)
    assert row(id_)["undone"] == ["void_payment"]
    change(id_, "due_at = now()")
    (again,) = store.claim(1)
    assert (again.undone, again.next_action) == (("void_payment",), "cancel_order")
    assert not store.save(after_first, after(after_first, Yes({}), POLICY))
    undo(store, again)
    assert (row(id_)["undone"], row(id_)["status"]) == (["void_payment", "cancel_order"], "FAILED")


def test_time_since_the_last_undo_comes_from_the_database(
    store: Store, authorized: Make, change: Change, database: Database
) -> None:
    id_ = authorized()
    (saga,) = store.claim(1)
    assert saga.stalled_s == 0
    assert store.save(saga, after(saga, No("x", ""), POLICY))
    database.one("UPDATE order_ledger_history SET at = at - interval '90 s'")
    change(id_, "due_at = now()")
    (again,) = store.claim(1)
    assert again.stalled_s == pytest.approx(90, abs=30)


def test_mark_stays_until_the_undo_succeeds(store: Store, authorized: Make, row: Read, change: Change) -> None:
    id_ = authorized()
    (saga,) = store.claim(1)
    back = after(saga, No("x", ""), POLICY)
    assert store.save(saga, back)
    marked = after(back, No("validation_error", "What?"), POLICY)
    assert store.save(back, marked)
    since = row(id_)["needs_attention_at"]
    assert since is not None
    change(id_, "due_at = now()")
    (again,) = store.claim(1)
    assert again.attention
    still = after(again, Nothing("x"), POLICY)
    assert store.save(again, still)
    assert row(id_)["needs_attention_at"] == since
    change(id_, "due_at = now()")
    (again,) = store.claim(1)
    undo(store, undo(store, again))
    assert row(id_)["needs_attention_at"] is None


WISH = "UPDATE order_ledger SET cancel_requested_at = now(), cancel_reason = 'other' WHERE id = %(id)s"


def test_checkpoint_says_that_the_order_is_cancelled(store: Store, authorized: Make, database: Database) -> None:
    id_ = authorized()
    (saga,) = store.claim(1)
    assert not saga.is_cancelled
    saved = store.save(saga, after(saga, Yes({}), POLICY))
    assert not saved.is_cancelled
    database.all(WISH, id=id_)
    assert store.save(saved, after(saved, Yes({}), POLICY)).is_cancelled


def test_claim_says_that_the_order_is_cancelled(store: Store, authorized: Make, database: Database) -> None:
    database.all(WISH, id=authorized())
    (saga,) = store.claim(1)
    assert saga.is_cancelled


def test_order_that_fails_after_a_cancel_fails_for_that_reason(
    store: Store, authorized: Make, database: Database
) -> None:
    id_ = authorized()
    (saga,) = store.claim(1)
    saga = store.save(saga, after(saga, No("refused", "No."), POLICY))
    saga = store.save(saga, after(saga, Yes({}), POLICY))
    database.all(WISH, id=id_)
    store.save(saga, after(saga, Yes({}), POLICY))
    (row,) = database.all("SELECT status, failure_code, failure_message FROM order_ledger WHERE id = %(id)s", id=id_)
    assert row == {
        "status": "FAILED", "failure_code": "cancelled", "failure_message": "The order was cancelled.",
    }  # fmt: skip
