"""Confirming and cancelling, in any order of arrival."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import order_id_for
from tests.at_once import at_once

NOWHERE = str(uuid.UUID(int=7))


def refused(current: str, attempted: str) -> tuple[int, str, dict[str, str]]:
    return 409, "invalid_status_transition", {"current_status": current, "attempted_status": attempted}


def refusal(answer) -> tuple[int, str, dict[str, str]]:
    body = answer.get_json()
    return answer.status_code, body["error"], body["details"]


@pytest.mark.parametrize(("verb", "status"), [("confirm", "CONFIRMED"), ("cancel", "CANCELLED")])
def test_repeated_confirm_or_cancel_changes_nothing(orders, verb, status):
    order = orders.new()
    before = orders.get(order).get_json()
    first, second = (getattr(orders, verb)(order) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.data == first.data == orders.get(order).data
    after = first.get_json()
    assert after == {**before, "status": status, "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


def test_cancel_after_a_confirm_is_refused(orders):
    order = orders.new()
    confirmed = orders.confirm(order)
    assert refusal(orders.cancel(order)) == refused("CONFIRMED", "CANCELLED")
    assert orders.get(order).data == confirmed.data


def test_confirm_after_a_cancel_is_refused(orders):
    order = orders.new()
    cancelled = orders.cancel(order)
    assert refusal(orders.confirm(order)) == refused("CANCELLED", "CONFIRMED")
    assert orders.get(order).data == cancelled.data


def test_create_after_a_cancel_is_refused(orders):
    body = orders.body()
    order = orders.client.post("/orders", json=body).get_json()["id"]
    orders.cancel(order)
    assert refusal(orders.client.post("/orders", json=body)) == refused("CANCELLED", "CREATED")
    assert orders.get(order).get_json()["status"] == "CANCELLED"


def test_create_arriving_after_its_cancel_is_refused(orders, never_seen):
    ledger_id, order = never_seen
    missing = (404, "not_found", {"order_id": order})
    assert refusal(orders.cancel(order)) == missing
    for _ in range(2):
        assert refusal(orders.create(ledger_id)) == refused("CANCELLED", "CREATED")
    assert refusal(orders.get(order)) == refusal(orders.cancel(order)) == refusal(orders.confirm(order)) == missing


@pytest.mark.parametrize("verb", ["get", "confirm", "cancel"])
def test_unknown_order_is_404(orders, verb):
    assert refusal(getattr(orders, verb)(NOWHERE)) == (404, "not_found", {"order_id": NOWHERE})
    assert getattr(orders, verb)("x").get_json()["error"] == "not_found"


def test_confirm_of_an_unknown_order_leaves_nothing(orders, never_seen, sql):
    ledger_id, order = never_seen
    orders.confirm(order)
    assert sql("SELECT * FROM orders") == []
    assert orders.create(ledger_id).status_code == 201


def test_confirm_takes_no_body(orders):
    path = f"/orders/{orders.new()}/confirm"
    assert orders.client.put(path, json={"force": True}).status_code == 400
    assert orders.client.put(path, json={}).status_code == 200


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.mark.parametrize("verbs", [("confirm", "cancel"), ("cancel", "confirm")])
def test_first_of_two_waiting_calls_wins(orders, sql, url, verbs):
    """Both wait for the order's row, one behind the other, so that what they read before is outdated."""
    order = orders.new()
    holder = psycopg2.connect(url)
    holder.cursor().execute("SELECT FROM orders FOR UPDATE")
    with ThreadPoolExecutor(2) as threads:
        calls = []
        for number, verb in enumerate(verbs, start=1):
            calls.append(threads.submit(getattr(orders, verb), order))
            deadline = time.monotonic() + 0.7  # both waits together stay below lock_timeout, 2 s
            while sql(WAITING) != [(number,)] and time.monotonic() < deadline:
                pass
        holder.close()
    assert [call.result().status_code for call in calls] == [200, 409]


def test_simultaneous_create_and_cancel_leave_no_order(orders):
    for _ in range(30):
        ledger_id = str(uuid.uuid4())
        order = order_id_for(ledger_id)
        created, cancelled = at_once([partial(orders.create, ledger_id), partial(orders.cancel, order)])
        assert (created.status_code, cancelled.status_code) in {(201, 200), (409, 404)}
        assert orders.create(ledger_id).status_code == 409


@pytest.mark.parametrize("status", ["CONFIRMED", "CANCELLED"])
@pytest.mark.parametrize("attempt", ["CREATED", "CONFIRMED", "CANCELLED"])
def test_database_refuses_illegal_transitions(orders, sql, status, attempt):
    orders.confirm(orders.new()) if status == "CONFIRMED" else orders.cancel(orders.new())
    if attempt == status:
        sql(f"UPDATE orders SET status = '{attempt}'")
        return
    with pytest.raises(psycopg2.errors.CheckViolation, match=f"is {status} and cannot become {attempt}"):
        sql(f"UPDATE orders SET status = '{attempt}'")


@pytest.mark.parametrize("status", ["CREATED", "CONFIRMED"])
def test_only_a_cancelled_row_may_be_empty(orders, sql, status):
    with pytest.raises(psycopg2.errors.CheckViolation, match="ck_orders_content"):
        sql(f"INSERT INTO orders (id, status) VALUES (gen_random_uuid(), '{status}')")


class Model:
    """The contract, for one order."""

    status: str | None = None
    is_tombstone = False

    def create(self) -> int:
        if self.status == "CANCELLED":
            return 409
        first, self.status = self.status is None, self.status or "CREATED"
        return 201 if first else 200

    def confirm(self) -> int:
        return self._become("CONFIRMED")

    def cancel(self) -> int:
        self.is_tombstone |= self.status is None
        return self._become("CANCELLED") if self.status else self._bury()

    def _bury(self) -> int:
        self.status = "CANCELLED"
        return 404

    def _become(self, status: str) -> int:
        if self.status is None or self.is_tombstone:
            return 404
        self.status = status if self.status == "CREATED" else self.status
        return 200 if self.status == status else 409


CALLS = st.tuples(st.sampled_from(range(3)), st.sampled_from(["create", "confirm", "cancel"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, max_size=15))
def test_any_sequence_of_calls_follows_the_contract(orders, calls):
    ledger_ids, models = [str(uuid.uuid4()) for _ in range(3)], [Model() for _ in range(3)]
    for number, verb in calls:
        subject = ledger_ids[number] if verb == "create" else order_id_for(ledger_ids[number])
        assert getattr(orders, verb)(subject).status_code == getattr(models[number], verb)()
        for ledger_id, model in zip(ledger_ids, models, strict=True):
            shown = orders.get(order_id_for(ledger_id)).get_json()
            assert shown.get("status") == (None if model.is_tombstone else model.status)
