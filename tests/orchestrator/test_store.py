"""Claims and fenced writes on a real PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from common.calls.client import No, Nothing, Yes
from common.database.database import Database, Row
from domain.ids import order_id_for
from domain.states import Status
from edge_api.notifier import Notifier
from edge_api.store import Store as EdgeStore
from orchestrator.entries import entry_of
from orchestrator.saga import RetryPolicy, Saga, after
from orchestrator.store import MAX_UNPRODUCTIVE_CLAIMS, SET_ASIDE_S, Store
from tests.orchestrator.conftest import ENTRY
from tests.other_session import other_session
from tests.waiting import eventually

POLICY = RetryPolicy(jitter=0)
Make = Callable[[], str]
Read = Callable[[str], Row]
Change = Callable[[str, str], None]


def finish(store: Store, saga: Saga) -> Saga:
    while saga.is_runnable:
        now = after(saga, Yes({}), POLICY)
        assert store.save(saga, now)
        saga = now
    return saga


class TestClaim:
    def test_returns_everything_the_saga_needs(self, store: Store, authorized: Make, row: Read) -> None:
        id_ = authorized()
        (saga,) = store.claim(10)
        ledger = row(id_)
        assert (saga.id, saga.status, saga.order_id) == (id_, Status.AUTHORIZED, order_id_for(id_))
        assert (saga.total_amount_cents, saga.currency, saga.request_id) == (700, "USD", "r-1")
        assert saga.payment_authorization_id == ledger["payment_authorization_id"]
        assert [(item["quantity"], item["unit_price_cents"]) for item in saga.items] == [(1, 300), (2, 200)]

    def test_sets_the_lease_and_raises_the_claim_number(self, store: Store, authorized: Make, row: Read) -> None:
        before = row(id_ := authorized())
        store.claim(1)
        now = row(id_)
        assert (now["claimed_by"], now["claim_number"]) == ("me", before["claim_number"] + 1)
        assert now["claimed_until"] == now["due_at"]
        assert timedelta(seconds=25) < now["claimed_until"] - datetime.now(UTC) < timedelta(seconds=35)

    def test_claims_the_longest_overdue_up_to_the_limit(self, store: Store, authorized: Make, change: Change) -> None:
        new, old, oldest = authorized(), authorized(), authorized()
        change(old, "due_at = now() - interval '5 s', retry_count = 1")
        change(oldest, "due_at = now() - interval '9 s', retry_count = 1")
        assert {saga.id for saga in store.claim(2)} == {old, oldest}
        assert {saga.id for saga in store.claim(2)} == {new}

    def test_claims_only_due_entries(self, store: Store, authorized: Make, requested: Make, change: Change) -> None:
        change(authorized(), "due_at = now() + interval '1 s'")
        requested()
        assert store.claim(10) == []

    def test_claimed_entry_is_exclusive_until_its_lease_expires(
        self, store: Store, other_store: Store, authorized: Make, change: Change
    ) -> None:
        id_ = authorized()
        (mine,) = store.claim(10)
        assert other_store.claim(10) == []
        change(id_, "due_at = now() - interval '1 s', claimed_until = now() - interval '1 s'")
        (theirs,) = other_store.claim(10)
        assert theirs.claim_number == mine.claim_number + 1

    def test_skips_locked_entries(
        self, store: Store, authorized: Make, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        locked, free = authorized(), authorized()
        with other_session(url) as cursor:
            cursor.execute("SELECT FROM order_ledger WHERE id = %s FOR UPDATE", (locked,))
            with caplog.at_level(logging.WARNING):
                assert [saga.id for saga in store.claim(10)] == [free]
        assert caplog.text == "", "it did not have to claim each alone"

    def test_entry_that_is_being_claimed_is_not_claimed_again(
        self, store: Store, authorized: Make, database: Database, url: str
    ) -> None:
        authorized()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with ThreadPoolExecutor(1) as threads, closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
            cursor.execute("UPDATE order_ledger SET claim_number = 1, due_at = now() + interval '1 hour'")
            claiming = threads.submit(store.claim, 1)
            eventually(lambda: claiming.done() or database.one(waiting))
            other.commit()
            assert claiming.result(20) == []

    def test_claim_leaves_no_transaction_open(self, store: Store, authorized: Make, database: Database) -> None:
        authorized()
        store.claim(1)
        idle = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'test' AND state LIKE 'idle in%%'"
        assert database.one(idle) == {"n": 0}

    def test_eight_orchestrators_claim_each_entry_once(self, database: Database, authorized: Make) -> None:
        ids = {authorized() for _ in range(60)}
        barrier = threading.Barrier(8)

        def claim(number: int) -> list[str]:
            store, claimed = Store(database, f"o{number}", 30), []
            barrier.wait()
            while sagas := store.claim(3):
                claimed += [saga.id for saga in sagas]
            return claimed

        with ThreadPoolExecutor(8) as pool:
            counts = Counter(id_ for claimed in pool.map(claim, range(8)) for id_ in claimed)
        # SKIP LOCKED may end one orchestrator's loop while another still holds locks; the rest remains due.
        counts.update(saga.id for saga in Store(database, "last", 30).claim(60))
        assert counts == Counter(dict.fromkeys(ids, 1))


class TestAbandoned:
    def test_entry_is_marked_before_the_void_is_sent(
        self, store: Store, requested: Make, row: Read, change: Change
    ) -> None:
        """After the claim it cannot become a sale. The claim is committed before the call is sent."""
        change(id_ := requested(), "due_at = now()")
        (saga,) = store.claim(1)
        assert (row(id_)["failure_code"], saga.status) == ("abandoned", Status.AWAITING_AUTHORIZATION)
        closed = after(saga, Yes({}), POLICY)
        assert store.save(saga, closed)
        assert (row(id_)["status"], row(id_)["due_at"]) == (Status.AUTHORIZATION_FAILED, None)

    def test_entry_is_not_due_during_the_lease_of_its_request(self, database: Database, row: Read) -> None:
        """Even if ABANDONED_AFTER_S is shorter than the lease."""
        edge = EdgeStore(database, 30, 0.05, Notifier(database, 0))
        entry = edge.insert_entry("shop", "k", ENTRY)
        assert entry is not None
        assert row(entry["id"])["due_at"] >= row(entry["id"])["claimed_until"]
        database.one("UPDATE order_ledger SET claimed_until = now() - interval '1 s'")
        taken = edge.take_over(entry)
        assert taken is not None
        assert row(entry["id"])["due_at"] >= row(entry["id"])["claimed_until"]

    def test_claim_marks_no_authorized_entry(self, store: Store, authorized: Make, row: Read) -> None:
        id_ = authorized()
        store.claim(1)
        assert row(id_)["failure_code"] is None


class TestFence:
    def test_former_owner_changes_nothing_after_a_takeover(
        self, store: Store, other_store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        id_ = authorized()
        (zombie,) = store.claim(1)
        change(id_, "due_at = now(), claimed_until = now()")
        (owner,) = other_store.claim(1)
        before = row(id_)
        for answer in (Yes({}), No("x", ""), Nothing("x")):
            assert not store.save(zombie, after(zombie, answer, POLICY))
        store.release(zombie)
        assert row(id_) == before
        assert finish(other_store, owner).status == Status.COMPLETED

    def test_former_owner_in_the_same_group_is_told_that_its_claim_is_lost(
        self, store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        """Both are threads of one orchestrator."""
        id_ = authorized()
        (zombie,) = store.claim(1)
        change(id_, "due_at = now(), claimed_until = now()")
        (owner,) = store.claim(1)
        group = [entry_of(saga, after(saga, Yes({}), POLICY)) for saga in (zombie, owner)]
        assert [saved is not None for saved in store._save(group)] == [False, True]
        assert row(id_)["status"] == Status.ORDER_CREATED

    def test_former_claim_of_the_same_orchestrator_releases_nothing(
        self, store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        id_ = authorized()
        (former,) = store.claim(1)
        change(id_, "due_at = now(), claimed_until = now()")
        store.claim(1)
        before = row(id_)
        store.release(former)
        assert row(id_) == before

    def test_save_requires_the_expected_status(self, store: Store, authorized: Make, row: Read) -> None:
        id_ = authorized()
        (saga,) = store.claim(1)
        moved = after(saga, Yes({}), POLICY)
        assert store.save(saga, moved)
        assert not store.save(saga, moved)
        assert row(id_)["status"] == Status.ORDER_CREATED


class TestSave:
    def test_terminal_status_closes_the_outbox_event(
        self, store: Store, authorized: Make, database: Database, row: Read
    ) -> None:
        ids = [authorized(), authorized()]
        completed, failed = store.claim(2)
        finish(store, completed)
        back = after(failed, No("insufficient_stock", "Sold out."), POLICY)
        assert store.save(failed, back)
        finish(store, back)
        events = database.all("SELECT order_ledger_id, status FROM outbox WHERE processed_at IS NOT NULL")
        assert {(event["order_ledger_id"], event["status"]) for event in events} == {
            (completed.id, "PROCESSED"), (failed.id, "FAILED"),
        }  # fmt: skip
        for id_ in ids:
            ledger = row(id_)
            assert (ledger["due_at"], ledger["claimed_by"], ledger["next_retry_at"]) == (None, None, None)

    def test_waiting_retry_is_unclaimed(
        self, store: Store, other_store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        id_ = authorized()
        (saga,) = store.claim(1)
        assert store.save(saga, after(saga, Nothing("orders: ReadTimeout"), POLICY))
        now = row(id_)
        assert (now["retry_count"], now["claimed_by"], now["due_at"]) == (1, None, now["next_retry_at"])
        assert now["status_detail"] == "orders: ReadTimeout"
        assert now["next_retry_at"] - now["updated_at"] == timedelta(seconds=1)
        change(id_, "due_at = now()")
        (again,) = other_store.claim(1)
        assert again.retry_count == 1

    def test_database_clock_decides_what_is_due(self, store: Store, authorized: Make) -> None:
        assert store.next_due_in() is None
        authorized()
        assert store.next_due_in() == 0
        (saga,) = store.claim(1)
        store.save(saga, replace(saga, retry_in_s=100.0))
        assert store.next_due_in() == pytest.approx(100, abs=20)

    def test_lease_is_renewed_when_the_next_call_could_outlast_it(
        self, store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        id_ = authorized()
        (saga,) = store.claim(1)
        fresh = row(id_)["claimed_until"]
        now = after(saga, Yes({}), POLICY)
        assert store.save(saga, now)
        assert row(id_)["claimed_until"] == fresh, "an unchanged due_at keeps the update off the indexes"
        change(id_, "claimed_until = now() + interval '5 s', due_at = now() + interval '5 s'")
        assert store.save(now, after(now, Yes({}), POLICY))
        renewed = row(id_)
        assert renewed["claimed_until"] == renewed["due_at"]
        assert renewed["claimed_until"] - datetime.now(UTC) > timedelta(seconds=20)


class TestPoison:
    def test_entry_claimed_five_times_without_an_outcome_is_set_aside(
        self, store: Store, authorized: Make, row: Read, change: Change
    ) -> None:
        poison, good = authorized(), authorized()
        for _ in range(MAX_UNPRODUCTIVE_CLAIMS):
            change(poison, "due_at = now()")
            assert poison in {saga.id for saga in store.claim(10)}
            assert row(poison)["needs_attention_at"] is None
        change(poison, "due_at = now()")
        change(good, "due_at = now()")
        store.claim(10)
        assert row(poison)["needs_attention_at"] is not None
        assert row(poison)["due_at"] - row(good)["due_at"] > timedelta(minutes=4)
        assert row(poison)["claimed_until"] == row(good)["claimed_until"], "it is claimed for one lease only"

    def test_poison_entry_stays_with_a_worker_that_has_a_longer_lease(
        self, database: Database, authorized: Make, row: Read, change: Change
    ) -> None:
        id_ = authorized()
        change(id_, f"unproductive_claims = {MAX_UNPRODUCTIVE_CLAIMS}")
        Store(database, "me", lease_s=2 * SET_ASIDE_S).claim(1)
        assert row(id_)["due_at"] == row(id_)["claimed_until"]

    def test_every_save_counts_as_progress(self, store: Store, authorized: Make, row: Read, change: Change) -> None:
        id_ = authorized()
        for _ in range(8):
            change(id_, "due_at = now(), retry_count = 0")
            (saga,) = store.claim(1)
            assert store.save(saga, after(saga, Nothing("x"), POLICY))
        assert (row(id_)["unproductive_claims"], row(id_)["needs_attention_at"]) == (0, None)

    def test_released_claim_does_not_count_as_unproductive(self, store: Store, authorized: Make, row: Read) -> None:
        id_ = authorized()
        for _ in range(8):
            (saga,) = store.claim(1)
            store.release(saga)
        assert (row(id_)["unproductive_claims"], row(id_)["claimed_by"]) == (0, None)
