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
