"""Lists of a client's orders: their order, their pages and their filters."""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.states import Status
from edge_api.cursor import Position, cursor_of, position_of
from tests import credentials
from tests.edge_api.conftest import PRICE_CENTS

T0 = datetime(2026, 1, 1, tzinfo=UTC)
UNDONE = "{void_payment,release_inventory,cancel_order}"
ENDED = ("AUTHORIZATION_FAILED", "COMPLETED", "FAILED")
INSERT = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, reference, total_amount_cents,
  currency, request_id, status, due_at, payment_authorization_id, compensating_from, undone, failure_code,
  refunded_cents, refund_reserved_cents, created_at)
VALUES (%(id)s, %(client)s, %(key)s, 'f', %(user_id)s, %(email)s, %(reference)s, 100, 'USD', 'r', %(status)s,
  CASE WHEN %(status)s <> ALL (%(ended)s) THEN now() END,
  CASE WHEN %(status)s NOT IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED') THEN 'auth_1' END,
  CASE WHEN %(status)s IN ('COMPENSATING', 'FAILED') THEN 'INVENTORY_RESERVED' END,
  CASE %(status)s WHEN 'FAILED' THEN %(undone)s::text[] ELSE '{}' END,
  CASE WHEN %(status)s IN ('AUTHORIZATION_FAILED', 'FAILED') THEN 'failed' END,
  %(refunded)s, %(refunded)s, %(created_at)s);
INSERT INTO order_ledger_items VALUES (%(id)s, 1, %(id)s, 1, 100)
"""
ADA, BOB = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


@pytest.fixture
def add(sql):
    """`add(status="FAILED", created_at=…)`: a ledger entry of the shop, and its id."""

    def insert(**changes):
        id_ = str(uuid.uuid4())
        row = {"id": id_, "client": credentials.CLIENT, "key": id_, "user_id": ADA, "email": "ada@a.example"}
        row |= {"reference": None, "status": "COMPLETED", "refunded": 0, "created_at": T0}
        sql(f"SET session_replication_role = replica; {INSERT}", ended=list(ENDED), undone=UNDONE, **row | changes)
        return changes.get("id", id_)

    return insert


@pytest.fixture
def listed(shop):
    """`listed(status="FAILED")` → the ids of one page, in its order."""

    def ids(**query):
        response = shop.app.test_client().get("/orders", query_string=query)
        assert response.status_code == 200, response.text
        return [order["order_ledger_id"] for order in response.json["orders"]]

    return ids


def pages(shop, **query):
    """The ids of each page, to the end."""
    while True:
        body = shop.app.test_client().get("/orders", query_string=query).json
        yield [order["order_ledger_id"] for order in body["orders"]]
        if body["next_cursor"] is None:
            return
        assert re.fullmatch("[A-Za-z0-9_-]+", body["next_cursor"])
        query["cursor"] = body["next_cursor"]


def test_listed_order_is_the_order_without_its_timeline(shop):
    first = shop.order(reference="2026-1742", metadata={"a": "b"})
    (listed,) = shop.app.test_client().get("/orders").json["orders"]
    shown = shop.app.test_client().get(first.headers["Location"]).json
    assert shown.pop("timeline")
    assert listed == shown
    assert listed["items"] == [{"product_id": shop.product_id, "quantity": 2, "unit_price_cents": PRICE_CENTS}]


def test_no_orders_is_an_empty_page(shop):
    assert shop.app.test_client().get("/orders").json == {"orders": [], "next_cursor": None}


def test_newest_comes_first_whatever_the_ids(add, listed):
    """Ids of early releases are random, and those of today follow the clock of a host."""
    ids = [str(uuid.UUID(int=number)) for number in range(10)]
    random.Random(1).shuffle(ids)
    for age, id_ in enumerate(ids):
        add(id=id_, created_at=T0 - timedelta(seconds=age))
    assert listed() == ids


def test_pages_have_every_order_once(shop, add):
    """Half of the orders have the same time."""
    ids = {add(created_at=T0 + timedelta(microseconds=max(0, number))) for number in range(-15, 10)}
    for limit in (1, 7, 24, 25, 26):
        found = list(itertools.chain.from_iterable(pages(shop, limit=limit)))
        assert (len(found), set(found)) == (25, ids)
        assert all(len(page) == limit for page in list(pages(shop, limit=limit))[:-1])


def test_page_has_20_orders_unless_told_otherwise(add, listed):
    for _ in range(25):
        add()
    assert (len(listed()), len(listed(limit=100))) == (20, 25)


def test_new_orders_move_nothing(shop, add):
    old = [add(created_at=T0 - timedelta(seconds=age)) for age in range(4)]
    first = shop.app.test_client().get("/orders?limit=2").json
    add(created_at=T0 + timedelta(seconds=1))
    second = shop.app.test_client().get(f"/orders?limit=2&cursor={first['next_cursor']}").json
    assert [order["order_ledger_id"] for order in first["orders"] + second["orders"]] == old


@pytest.fixture
def crowd(add):
    """Orders with all combinations of what the filters look at, by id."""
    choices = {
        "status": list(Status),
        "reference": [None, "r-1", "R-1"],
        "user_id": [ADA, BOB],
        "email": ["Ada@a.example", "bob@a.example"],
        "refunded": [0, 1, 100],
    }
    rows = {}
    for number, values in enumerate(itertools.product(*choices.values())):
        row = dict(zip(choices, values, strict=True)) | {"created_at": T0 + timedelta(seconds=number)}
        if row["refunded"] and row["status"] != Status.COMPLETED:
            continue
        rows[add(**row)] = row
    add(client="other")
    return rows


FITS = {
    "status": lambda row, value: row["status"] in value.split(","),
    "reference": lambda row, value: row["reference"] == value,
    "user_id": lambda row, value: row["user_id"] == value,
    "email": lambda row, value: row["email"].lower() == value.lower(),
    "refund_status": lambda row, value: {0: "none", 1: "partial", 100: "full"}[row["refunded"]] == value,
    "created_from": lambda row, value: row["created_at"] >= datetime.fromisoformat(value),
    "created_before": lambda row, value: row["created_at"] < datetime.fromisoformat(value),
}


def fits(row, query):
    return all(FITS[name](row, value) for name, value in query.items())


def test_every_combination_of_filters_finds_what_fits_all(shop, crowd):
    choices = {
        "status": [
            None,
            "FAILED",
            "COMPLETED",
            "AUTHORIZED,COMPENSATING",
            "COMPLETED,AUTHORIZATION_FAILED,ORDER_CREATED",
        ],
        "reference": [None, "r-1"],
        "user_id": [None, BOB],
        "email": [None, "ADA@A.example"],
        "refund_status": [None, "none", "partial", "full"],
        "created_from": [None, "2026-01-01T00:01:30Z"],
        "created_before": [None, "2026-01-01T00:03:00Z"],
    }
    for values in itertools.product(*choices.values()):
        query = {name: value for name, value in zip(choices, values, strict=True) if value}
        found = list(itertools.chain.from_iterable(pages(shop, limit=100, **query)))
        assert found == [id_ for id_, row in reversed(crowd.items()) if fits(row, query)], query


def test_each_status_finds_its_orders(crowd, listed):
    for status in Status:
        found = listed(status=status, limit=100)
        assert {crowd[id_]["status"] for id_ in found} == {status}
    assert len(listed(status="FAILED,FAILED", limit=100)) == len(listed(status="FAILED", limit=100))


def test_key_finds_its_order(shop, add, listed):
    keys = ["k", "K", "a key", "50%", "' OR 1=1 --", "k" * 255]
    ids = {key: add(key=key) for key in keys}
    add(key="k", client="other")
    assert {key: listed(client_request_id=key) for key in keys} == {key: [id_] for key, id_ in ids.items()}


@pytest.mark.parametrize(
    "time", ["2026-01-01T00:00:00Z", "2026-01-01T01:30:00.000000+01:30", "2025-12-31T23:00:00-01:00"]
)
def test_time_bounds_are_from_inclusive_and_before_exclusive(add, listed, time):
    at = [add(created_at=T0 + timedelta(microseconds=offset)) for offset in (-1, 0, 1)]
    assert listed(created_from=time) == [at[2], at[1]]
    assert listed(created_before=time) == [at[0]]
    assert listed(created_from=time, created_before=time) == []


def test_one_client_cannot_read_another_ones_orders(shop, add, url):
    own, foreign = add(), add(client="other", reference="r")
    position = Position(T0 + timedelta(days=1), foreign)
    assert list(pages(shop, cursor=cursor_of(position))) == [[own]]
    assert list(pages(shop, reference="r")) == list(pages(shop, client_request_id=foreign)) == [[]]


def test_erased_order_is_listed(shop, add, sql):
    id_ = add()
    sql("UPDATE order_ledger SET email = 'erased@erased.invalid', user_id = %(user)s", user=str(uuid.UUID(int=0)))
    sql("UPDATE order_ledger SET metadata = NULL, history_deleted_at = now(), event_deleted_at = now()")
    (order,) = shop.app.test_client().get("/orders").json["orders"]
    assert (order["order_ledger_id"], order["email"]) == (id_, "erased@erased.invalid")


def test_bad_values_are_named_together(shop):
    query = {"status": "x", "limit": 0, "cursor": "x", "created_from": "yesterday", "page": 2}
    response = shop.app.test_client().get("/orders", query_string=query)
    assert (response.status_code, response.json["error"]) == (400, "validation_error")
    assert set(response.json["details"]) == set(query)


def test_plus_of_an_offset_must_be_encoded(shop):
    response = shop.app.test_client().get("/orders?created_from=2026-01-01T00:00:00+01:00")
    assert "RFC 3339" in json.dumps(response.json["details"])


@pytest.mark.parametrize("at", [T0, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_cursor_is_read_as_it_was_made(at):
    position = Position(at, str(uuid.uuid4()))
    assert position_of(cursor_of(position)) == position


def test_changed_cursor_is_refused():
    cursor = cursor_of(Position(T0, str(uuid.UUID(int=7))))
    for place, letter in itertools.product(range(len(cursor)), "Aaz09-_"):
        changed = cursor[:place] + letter + cursor[place + 1 :]
        if changed != cursor:
            with pytest.raises(ValueError, match="not a cursor"):
                position_of(changed)
    for other in (cursor[:-1], f"{cursor}A", f"{cursor}==", f"{cursor}\n", "", base64.b64encode(b"x" * 28).decode()):
        with pytest.raises(ValueError, match="not a cursor"):
            position_of(other)
