"""`python -m ops retain` deletes old events, in the order of the feed, and notes how far it came."""

from __future__ import annotations

import pytest

from ops import retained_events
from ops.__main__ import main
from tests import credentials
from tests.books import violations
from tests.ops.old_orders import age, clock, place_all_kinds

__all__ = ["clock"]


def make_older(world, days, where="true", **params):
    """Move these events into the past, and the beginning of their orders."""
    world.sql("SET session_replication_role = replica")
    params |= {"days": days}
    ids = f"SELECT order_ledger_id FROM events WHERE {where}"
    world.sql(f"UPDATE order_ledger SET created_at = created_at - %(days)s * interval '1 day' WHERE id IN ({ids})",
              **params)  # fmt: skip
    world.sql(f"UPDATE events SET at = at - %(days)s * interval '1 day' WHERE {where}", **params)
    world.sql("SET session_replication_role = origin")


@pytest.fixture
def retain(url, capsys):
    def run(*arguments, **settings):
        days = {f"RETAIN_{name.upper()}_DAYS": str(value) for name, value in settings.items()}
        assert main(["retain", *arguments], {"DATABASE_URL": url, "APP_ENV": "test", **days}) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def placed(world):
    place_all_kinds(world)
    return world


def feed(world, **query):
    response = world.edge.test_client().get("/events", query_string={"limit": 100} | query)
    assert response.status_code == 200, response.text
    return response.json["events"]


def test_events_of_30_days_are_deleted_unless_told_otherwise(placed, retain, url):
    assert retain() == "Nothing was due to be deleted.\n"
    make_older(placed, 29)
    assert retain() == "Nothing was due to be deleted.\n"
    make_older(placed, 2)
    assert retain(events=60) == retain(events=0) == "Nothing was due to be deleted.\n"
    assert retain() == "Deleted: 11 events.\n"
    assert placed.sql("SELECT count(*) FROM events") == [(0,)]
    assert violations(url) == {}


def test_a_small_batch_deletes_all(placed, retain, url, monkeypatch):
    monkeypatch.setattr(retained_events, "BATCH", 2)
    make_older(placed, 31)
    assert retain() == "Deleted: 11 events.\n"
    assert violations(url) == {}


def test_events_are_deleted_from_the_oldest_to_the_first_that_is_young(placed, retain, url):
    ids = [event["id"] for event in feed(placed)]
    make_older(placed, 31, "id = ANY (%(ids)s)", ids=[*ids[:3], *ids[5:7]])
    assert retain() == "Deleted: 3 events.\n"
    assert [event["id"] for event in feed(placed)] == ids[3:]
    assert violations(url) == {}


def test_reader_goes_on_where_the_deletion_ended(placed, retain):
    ids = [event["id"] for event in feed(placed)]
    make_older(placed, 31, "id = ANY (%(ids)s)", ids=ids[:4])
    retain()
    assert [event["id"] for event in feed(placed, after=ids[3])] == ids[4:]
    late = placed.edge.test_client().get("/events", query_string={"after": ids[2]})
    assert (late.status_code, late.json["error"]) == (400, "validation_error")


def test_each_client_has_its_own_oldest_event(placed, retain, url):
    placed.sql("UPDATE order_ledger SET client = 'other' WHERE client_request_id = 'completed'")
    placed.sql("UPDATE events SET client = 'other' FROM order_ledger AS l WHERE l.id = order_ledger_id"
               " AND l.client = 'other'")  # fmt: skip
    make_older(placed, 31, "client = 'other'")
    assert retain() == "Deleted: 2 events.\n"
    noted = placed.sql("SELECT client, type FROM deleted_events ORDER BY type")
    assert noted == [("other", "order.authorized"), ("other", "order.completed")]
    assert violations(url) == {}


def test_events_that_vanished_otherwise_are_still_a_violation(placed, url):
    placed.sql("DELETE FROM events")
    assert set(violations(url)) == {"events"}


def test_order_with_a_young_event_stays(world, clock, retain, url):
    clock(100)
    place_all_kinds(world)
    age(world, 100)
    world.sql("UPDATE events SET at = now() FROM order_ledger AS l WHERE l.id = order_ledger_id"
              " AND client_request_id = 'completed'")  # fmt: skip
    assert "5 orders" in retain(orders=90, events=0)
    assert {event["data"]["client_request_id"] for event in feed(world)} == {"completed"}
    assert violations(url) == {}


def test_events_go_with_their_order_and_are_noted(world, clock, retain, url):
    clock(100)
    place_all_kinds(world)
    age(world, 100)
    last = feed(world)[-1]["id"]
    assert retain(orders=90, events=0) == "Deleted: 6 orders.\n"
    assert world.sql("SELECT count(*) FROM events") == [(0,)]
    assert world.sql("SELECT DISTINCT client FROM deleted_events") == [(credentials.CLIENT,)]
    assert feed(world, after=last) == []
    assert violations(url) == {}


@pytest.mark.parametrize(
    ("types", "is_told"), [("{*}", True), ("{order.completed}", True), ("{order.cancelled}", False)]
)
def test_endpoint_that_was_not_sent_a_deleted_event_is_named(world, placed, url, capsys, types, is_told):
    endpoint = "INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid) VALUES"
    world.sql(f"{endpoint} ('we_behind', 'shop', 'https://shop.example', %(types)s, '1')", types=types)
    make_older(world, 31)
    assert main(["retain"], {"DATABASE_URL": url, "APP_ENV": "test"}) == 0
    assert ("The webhook endpoint we_behind (enabled)" in capsys.readouterr().err) == is_told


def test_endpoint_that_was_sent_everything_is_not_named(world, placed, url, capsys):
    world.sql(
        "INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid, cursor_position)"
        " SELECT 'we_1', client, 'https://shop.example', '{*}', max(xid::text::bigint)::text::xid8, max(position)"
        " FROM events GROUP BY client"
    )
    make_older(world, 31)
    assert main(["retain"], {"DATABASE_URL": url, "APP_ENV": "test"}) == 0
    assert capsys.readouterr().err == ""
