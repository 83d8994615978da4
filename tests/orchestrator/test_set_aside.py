"""Entries that cannot be claimed, read or saved. On a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from common.calls.client import Yes
from common.database.database import Database, Row
from common.database.errors import DatabaseUnavailable
from domain.states import Status
from orchestrator.entries import entry_of
from orchestrator.saga import RetryPolicy, after
from orchestrator.store import MAX_UNPRODUCTIVE_CLAIMS, Store

POLICY = RetryPolicy(jitter=0)
Make = Callable[[], str]
Read = Callable[[str], Row]
Change = Callable[[str, str], None]
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON order_ledger FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()
"""


@pytest.fixture
def sql(url: str) -> Iterator[Callable[[str], Any]]:
    """`sql("DROP …")`, on its own connection."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor.execute


@pytest.fixture
def refused(sql: Callable[[str], Any]) -> Callable[..., Any]:
    """`with refused("OLD.id = …")`: the database refuses these updates."""

    @contextmanager
    def refuse(when: str, body: str = "RAISE EXCEPTION 'no'") -> Iterator[None]:
        sql(REFUSE.format(when=when, body=body))
        try:
            yield
        finally:
            sql("DROP FUNCTION refuse CASCADE")

    return refuse


@pytest.fixture
def noted(database: Database) -> Callable[[], list[Row]]:
    """Entries that cannot be marked themselves."""
    return lambda: database.all("SELECT * FROM set_aside_entries WHERE retry_at IS NOT NULL")


class TestUnclaimable:
    def test_only_the_refused_entry_is_not_claimed(
        self, store: Store, authorized: Make, refused: Any, noted: Any
    ) -> None:
        bad, good = authorized(), {authorized() for _ in range(3)}
        with refused(f"OLD.id = '{bad}'"):
            assert {saga.id for saga in store.claim(10)} == good
            (note,) = noted()
            assert (note["order_ledger_id"], note["reason"]) == (bad, "RaiseException: no")

    def test_writable_entry_is_marked_itself(
        self, store: Store, authorized: Make, row: Read, change: Change, noted: Any, sql: Any
    ) -> None:
        id_ = authorized()
        change(id_, f"claim_number = {2**31 - 1}")
        assert store.claim(10) == []
        assert row(id_)["attention_reason"] == "NumericValueOutOfRange: integer out of range"
        assert noted() == []

    def test_set_aside_entry_is_not_due_meanwhile(self, store: Store, authorized: Make, refused: Any) -> None:
        """Otherwise the dispatcher would look at it again and again without a pause."""
        bad = authorized()
        with refused(f"OLD.id = '{bad}'"):
            store.claim(10)
            assert store.next_due_in() is None

    def test_set_aside_entry_is_claimed_when_due_and_the_cause_is_gone(
        self, store: Store, authorized: Make, refused: Any, noted: Any, database: Database
    ) -> None:
        bad = authorized()
        with refused(f"OLD.id = '{bad}'"):
            store.claim(10)
            assert store.claim(10) == []
        assert store.claim(10) == []
        database.all("UPDATE set_aside_entries SET retry_at = now()")
        (saga,) = store.claim(10)
        assert (saga.id, noted()) == (bad, [])

    def test_mark_keeps_the_time_of_the_first_refusal(
        self, store: Store, authorized: Make, refused: Any, noted: Any, database: Database
    ) -> None:
        bad = authorized()
        with refused(f"OLD.id = '{bad}'"):
            store.claim(10)
            (first,) = noted()
            database.all("UPDATE set_aside_entries SET retry_at = now()")
            store.claim(10)
            (second,) = noted()
        assert second["since"] == first["since"]
        assert second["retry_at"] > first["since"]

    def test_no_entry_is_blamed_when_every_claim_is_refused(
        self, store: Store, authorized: Make, sql: Any, noted: Any
    ) -> None:
        """For example, during a migration."""
        authorized()
        sql("ALTER TABLE order_ledger RENAME COLUMN unproductive_claims TO renamed")
        try:
            with pytest.raises(DatabaseUnavailable):
                store.claim(10)
        finally:
            sql("ALTER TABLE order_ledger RENAME COLUMN renamed TO unproductive_claims")
        assert noted() == []
        assert len(store.claim(10)) == 1

    def test_extreme_times_do_not_stop_other_entries(self, store: Store, authorized: Make, change: Change) -> None:
        """Some are outside the range of Python's datetime."""
        ids = {authorized() for _ in range(4)}
        for id_, time in zip(sorted(ids), ("-infinity", "4000-01-01 BC", "2020-01-01", "-infinity"), strict=True):
            change(id_, f"due_at = '{time}', created_at = 'infinity', updated_at = '20000-01-01'")
        parked = authorized()
        change(parked, "due_at = 'infinity'")
        assert store.next_due_in() == 0
        assert {saga.id for saga in store.claim(10)} == ids
        assert store.next_due_in() > 0


class TestUnreadable:
    def test_unreadable_entry_is_marked_and_the_others_are_claimed(
        self, store: Store, authorized: Make, row: Read, change: Change, database: Database
    ) -> None:
        bad, good = authorized(), authorized()
        database.one("DELETE FROM order_ledger_items WHERE order_ledger_id = %(id)s", id=bad)
        for _ in range(MAX_UNPRODUCTIVE_CLAIMS + 1):
            change(bad, "due_at = now()")
            change(good, "due_at = now()")
            assert [saga.id for saga in store.claim(10)] == [good]
            assert row(bad)["attention_reason"] == "ValueError: the entry has no lines"
            assert row(bad)["claimed_by"] is None


class TestUnsavable:
    def test_refused_outcome_is_the_error_of_its_own_save_alone(
        self, store: Store, authorized: Make, refused: Any, row: Read
    ) -> None:
        bad, good = (authorized() for _ in range(2))
        sagas = {saga.id: saga for saga in store.claim(2)}
        with refused(f"OLD.id = '{bad}' AND NEW.status <> OLD.status"):
            with pytest.raises(psycopg2.errors.RaiseException):
                store.save(sagas[bad], after(sagas[bad], Yes({}), POLICY))
            assert store.save(sagas[good], after(sagas[good], Yes({}), POLICY))
        assert row(good)["status"] == Status.ORDER_CREATED

    def test_entry_saved_together_with_a_locked_one_does_not_wait(
        self, store: Store, authorized: Make, url: str, row: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held, free = authorized(), authorized()
        sagas = {saga.id: saga for saga in store.claim(2)}
        after_step = {id_: after(saga, Yes({}), POLICY) for id_, saga in sagas.items()}
        group = [entry_of(sagas[id_], after_step[id_]) for id_ in (held, free)]
        monkeypatch.setattr(store, "_save_in_group", lambda entry: store._save(group)[group.index(entry)])
        with ThreadPoolExecutor(1) as threads, closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
            cursor.execute("SELECT FROM order_ledger WHERE id = %s FOR UPDATE", (held,))
            waiting = threads.submit(store.save, sagas[held], after_step[held])
            assert store.save(sagas[free], after_step[free])
            assert (row(free)["status"], row(held)["status"]) == (Status.ORDER_CREATED, Status.AUTHORIZED)
            other.rollback()
            assert waiting.result(20)

    def test_entry_is_marked_and_released(self, store: Store, authorized: Make, row: Read) -> None:
        id_ = authorized()
        (saga,) = store.claim(1)
        store.set_aside(saga, ValueError("why"))
        now = row(id_)
        assert (now["attention_reason"], now["claimed_by"], now["claimed_until"]) == ("ValueError: why", None, None)
        assert now["needs_attention_at"]

    def test_lost_claim_is_not_set_aside(
        self, store: Store, other_store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        id_ = authorized()
        (zombie,) = store.claim(1)
        change(id_, "due_at = now(), claimed_until = now()")
        other_store.claim(1)
        before = row(id_)
        store.set_aside(zombie, ValueError("why"))
        assert row(id_) == before

    def test_progress_removes_the_mark(self, store: Store, authorized: Make, row: Read, change: Change) -> None:
        id_ = authorized()
        (saga,) = store.claim(1)
        store.set_aside(saga, ValueError("why"))
        change(id_, "due_at = now()")
        (again,) = store.claim(1)
        assert store.save(again, after(again, Yes({}), POLICY))
        assert row(id_)["needs_attention_at"] is None

    def test_no_entry_is_blamed_when_no_outcome_can_be_saved(
        self, store: Store, authorized: Make, row: Read, sql: Any
    ) -> None:
        id_ = authorized()
        (saga,) = store.claim(1)
        sql("ALTER TABLE outbox RENAME TO renamed")
        try:
            with pytest.raises(DatabaseUnavailable) as error:
                store.save(saga, after(saga, Yes({}), POLICY))
            store.set_aside(saga, error.value)
        finally:
            sql("ALTER TABLE renamed RENAME TO outbox")
        assert (row(id_)["needs_attention_at"], row(id_)["claimed_by"]) == (None, "me")


class TestStranded:
    def test_claims_without_a_thread_are_released(
        self, store: Store, other_store: Store, authorized: Make, row: Read
    ) -> None:
        lost, in_flight, theirs = authorized(), authorized(), authorized()
        mine = store.claim(2)
        other_store.claim(1)
        assert {saga.id for saga in mine} == {lost, in_flight}
        store.release_stranded([in_flight])
        assert [row(id_)["claimed_by"] for id_ in (lost, in_flight, theirs)] == [None, "me", "other"]
        assert row(lost)["unproductive_claims"] == 0

    def test_refused_release_does_not_stop_the_others(
        self, store: Store, authorized: Make, refused: Any, row: Read
    ) -> None:
        ids = [authorized() for _ in range(3)]
        store.claim(3)
        with refused(f"OLD.id = '{ids[1]}'"):
            store.release_stranded([])
        assert [row(id_)["claimed_by"] for id_ in ids] == [None, "me", None]
