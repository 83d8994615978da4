"""The faults of the catalogue, made to requests for a cancellation or a refund. Numbers are of docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from edge_api.routes import api
from tests.at_once import at_once
from tests.edge_api.conftest import Shop
from tests.edge_api.test_backlog import ENTRIES
from tests.faults.test_34_conflicts import CONFLICT
from tests.faults.test_56_upgrade_in_flight import add_field
from tests.other_session import other_session
from tests.waiting import eventually

TO_COMPLETED = ("ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED")
MOVE = """
UPDATE order_ledger SET status = %(to)s, due_at = CASE WHEN %(to)s <> 'COMPLETED' THEN due_at END WHERE id = %(id)s
"""
EFFECTS = {
    "cancel": "SELECT count(*) AS n FROM order_ledger WHERE cancel_requested_at IS NOT NULL",
    "refunds": "SELECT count(*) AS n FROM refunds",
}
CHANGES = {"cancel": ("order_ledger", "UPDATE"), "refunds": ("refunds", "INSERT")}
VIEWS = {"cancel": "cancel_order", "refunds": "request_refund"}
BODY = {"reason": "requested_by_customer"}


class Ask:
    """`ask()`: send the request, for an order that it fits."""

    def __init__(self, call: str, shop: Shop, sql: Callable[..., list[dict[str, int]]]) -> None:
        self.call, self.shop, self._sql = call, shop, sql
        self.order = self.new_order(shop)

    def new_order(self, shop: Shop, key: str = "order") -> str:
        order = str(shop.order(key).json["order_ledger_id"])
        for status in TO_COMPLETED if self.call == "refunds" else ():
            self._sql(MOVE, to=status, id=order)
        return order

    def __call__(self, shop: Shop | None = None, key: str = "k", order: str = "", **body: object):
        at = shop or self.shop
        headers = {**at.headers, "Idempotency-Key": key}
        path = f"/orders/{order or self.order}/{self.call}"
        return at.app.test_client().post(path, headers=headers, json={**BODY, **body})

    @property
    def effects(self) -> int:
        return self._sql(EFFECTS[self.call])[0]["n"]


@pytest.fixture(params=list(EFFECTS))
def ask(request, shop, sql):
    return Ask(request.param, shop, sql)


@pytest.fixture
def far_shop(severable, shop_with):
    """A shop whose Edge API reaches the database over a connection that can be cut."""
    return shop_with(DATABASE_URL=severable.url)


@pytest.fixture
def conflict(sql):
    """`conflict(ask, "40001", "n <= 3")`: the database fails the request's change, if the condition holds."""
    yield lambda ask, code, condition: sql(
        CONFLICT.format(
            code=code, condition=condition, **dict(zip(("table", "change"), CHANGES[ask.call], strict=True))
        )
    )
    sql("DROP SCHEMA IF EXISTS fault CASCADE")


@pytest.mark.parametrize(("cut", "is_saved"), [("cut_before", False), ("cut_after", True)])
def test_commit_is_unknown(ask, far_shop, severable, cut, is_saved):
    """Rows 1 to 5 and 59: also what a worker leaves that is killed then. The same key finds it, or does it."""
    getattr(severable, cut)("UPDATE edge_idempotency_keys SET status")  # sent with COMMIT
    answer = ask(far_shop)
    assert severable.was_cut
    assert (answer.status_code, answer.json["error"]) == (503, "database_unavailable")
    assert ask.effects == is_saved
    again = ask(far_shop)
    assert (again.status_code, "Idempotency-Replayed" in again.headers) == (202, is_saved)
    assert ask.effects == 1


def test_database_is_away(ask, far_shop, severable):
    """Rows 33 and 49."""
    severable.stop()
    assert ask(far_shop).json["error"] == "database_unavailable"
    severable.start()
    eventually(lambda: ask(far_shop).status_code == 202)
    assert ask.effects == 1


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
def test_three_conflicts_are_survived(ask, conflict, code):
    """Row 34."""
    conflict(ask, code, "n <= 3")
    assert ask().status_code == 202
    assert ask.effects == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [("40001", "service_unavailable"), ("55P03", "busy"), ("53100", "database_unavailable"),
     ("25006", "database_unavailable")],
    ids=["conflict", "lock", "disk full", "read-only"],
)  # fmt: skip
def test_refused_by_the_database_for_now(ask, conflict, sql, code, error):
    """Rows 34 and 43: 503, no effect, and the key stays free."""
    conflict(ask, code, "true")
    answer = ask()
    assert (answer.status_code, answer.json["error"]) == (503, error)
    assert int(answer.headers["Retry-After"]) >= 1
    assert ask.effects == 0
    sql("DROP SCHEMA fault CASCADE")
    assert ask().status_code == 202


def test_locked_order_answers_busy(ask, url, monkeypatch):
    """Rows 54 and 74."""
    monkeypatch.setattr("common.database.lock_wait.LOCK_WAIT_S", 0.1)
    with other_session(url) as cursor:
        cursor.execute("SELECT FROM order_ledger FOR UPDATE")
        answer = ask()
        assert (answer.status_code, answer.json["error"]) == (503, "busy")
    assert ask().status_code == 202
    assert ask.effects == 1


def test_one_key_many_times_at_once(ask):
    """Row 6."""
    answers = at_once([ask] * 12)
    assert {answer.status_code for answer in answers} <= {202, 409, 503}
    assert ask.effects == 1
    assert ask().headers["Idempotency-Replayed"] == "true"


def test_one_key_two_bodies(ask):
    """Row 7."""
    bodies = [partial(ask, note=note) for note in ("one", "two")]
    answers = at_once(bodies * 4)
    assert {answer.status_code for answer in answers} <= {202, 409, 422, 503}
    assert sorted(body().status_code for body in bodies) == [202, 422]
    assert ask.effects == 1


def test_one_key_two_clients(ask, shop_of):
    """Row 8."""
    alice = shop_of("alice")
    order = ask.new_order(alice)
    assert [ask().status_code, ask(alice, order=order).status_code] == [202, 202]
    assert ask.effects == 2


def test_next_release_adds_an_optional_field(ask, monkeypatch):
    """Row 56: the fingerprint is that of what was sent."""
    first = ask()
    add_field(api, VIEWS[ask.call], monkeypatch)
    again = ask()
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (202, "true")
    assert again.json == first.json


def test_queue_of_notifications_is_full(ask, conflict):
    """Row 65: the change is saved without a notification, which the poll makes up for. The error is that of NOTIFY."""
    conflict(ask, "54000", "n = 1")
    assert ask().status_code == 202
    assert ask.effects == 1


@pytest.mark.parametrize("note", ["\u200b", "\u2066", "\u00ad\u200d"])
def test_note_that_nobody_can_see(ask, note):
    """Row 80."""
    answer = ask(note=note)
    assert (answer.status_code, list(answer.json["details"])) == (400, ["note"])
    assert ask.effects == 0


def test_answers_are_not_stored_by_caches(ask):
    """Row 68."""
    client = ask.shop.app.test_client()
    answers = [ask(), ask(), ask(note="another")]
    answers += [client.get(path) for path in ("/events", "/orders", f"/orders/{ask.order}/refunds")]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_backlog_stops_no_cancellation_and_no_refund(shop_with, ask, sql):
    """Row 84: an overloaded shop refuses new orders only."""
    busy = shop_with(MAX_BACKLOG_AGE_S="1")
    sql(f"SET session_replication_role = replica; {ENTRIES}", age=3600, entries=20)
    assert busy.order("new").json["error"] == "busy"
    assert ask(busy).status_code == 202
