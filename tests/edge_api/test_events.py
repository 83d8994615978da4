"""The feed of events: what is in it, its pages and filters, and that a reader misses none."""

from __future__ import annotations

import re
import threading
import uuid
from contextlib import ExitStack, closing

import psycopg2
import pytest

from common.api.fields import rfc3339
from domain.events import EventType
from ops.checks.events import RENUMBER
from tests import credentials
from tests.edge_api.conftest import CLOSE_ABANDONED, MARK_ABANDONED, PRICE_CENTS
from tests.waiting import eventually

INSERT_ORDER = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, due_at)
VALUES (%(id)s, %(client)s, %(id)s, 'f', %(id)s, 'a@b.example', 100, 'USD', 'r', 'AWAITING_AUTHORIZATION', now())
"""
AUTHORIZE = "UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = 'auth_1' WHERE id = %(id)s"
MOVE = "UPDATE order_ledger SET status = %(status)s WHERE id = %(id)s"
TO_THE_END = ("ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED")
COMPLETE = "UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL WHERE id = %(id)s"
DECLINE = """
UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED', due_at = NULL, failure_code = 'payment_declined',
  failure_message = 'Declined.' WHERE id = %(id)s
"""
DELETE_UP_TO = """
WITH gone AS (DELETE FROM events WHERE (xid, position) <= (SELECT xid, position FROM events WHERE id = %(id)s)
  AND client = %(client)s RETURNING client, type, xid, position)
INSERT INTO deleted_events (client, type, xid, position)
SELECT DISTINCT ON (client, type) client, type, xid, position FROM gone ORDER BY client, type, xid DESC, position DESC
"""
ARE_ALL_SHOWN = "SELECT NOT EXISTS (SELECT FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())) AS yes"


@pytest.fixture
def are_all_shown(sql):
    """Whether no transaction holds events back. It may be any on the server: an autovacuum, or one that ends late."""
    return lambda: sql(ARE_ALL_SHOWN)[0]["yes"]


@pytest.fixture
def get_now(shop):
    """`get_now(limit=1)`: the status and the body of one page, as the feed is at this moment."""

    def page(**query):
        response = shop.app.test_client().get("/events", query_string=query)
        return response.status_code, response.json

    return page


@pytest.fixture
def get(get_now, are_all_shown):
    """The same, once no transaction holds events back."""

    def page(**query):
        eventually(are_all_shown)
        return get_now(**query)

    return page


@pytest.fixture
def feed(get):
    """`feed(limit=2)`: all events, page by page, once no transaction holds any of them back."""

    def read(**query):
        found = []
        while True:
            status, body = get(**query)
            assert status == 200, body
            if not body["events"]:
                assert body["next_after"] == query.get("after")
                return found
            found += body["events"]
            assert body["next_after"] == found[-1]["id"]
            query["after"] = body["next_after"]

    return read


class Writer:
    """A transaction of its own, on its own connection."""

    def __init__(self, url):
        self._connection = psycopg2.connect(url)

    def __call__(self, statement, **params):
        with self._connection.cursor() as cursor:
            cursor.execute(statement, params)

    def order(self, client=credentials.CLIENT):
        id_ = str(uuid.uuid4())
        self(INSERT_ORDER, id=id_, client=client)
        return id_

    def authorized(self, client=credentials.CLIENT):
        id_ = self.order(client)
        self(AUTHORIZE, id=id_)
        return id_

    def completed(self, client=credentials.CLIENT):
        id_ = self.authorized(client)
        self.complete(id_)
        return id_

    def complete(self, id_):
        for status in TO_THE_END:
            self(MOVE, id=id_, status=status)
        self(COMPLETE, id=id_)

    def refund(self, id_, refund_id, kind="refund.succeeded"):
        """As the trigger of refunds does it, with the entry locked."""
        self("SELECT 1 FROM order_ledger WHERE id = %(id)s FOR UPDATE", id=id_)
        self(
            "SELECT add_event(l, %(kind)s, %(refund)s::uuid) FROM order_ledger AS l WHERE id = %(id)s",
            id=id_,
            kind=kind,
            refund=refund_id,
        )

    def commit(self):
        self._connection.commit()

    def roll_back(self):
        self._connection.rollback()

    def close(self):
        self._connection.close()


@pytest.fixture
def writer(url):
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Writer(url)))


@pytest.fixture
def write(writer):
    return writer()


def orders_of(events):
    return [event["data"]["order_ledger_id"] for event in events]


def test_event_says_what_happened_and_nothing_about_the_person(shop, get, sql):
    placed = shop.order("key-7", reference="2026-1742", metadata={"channel": "web"}).json
    (row,) = sql("SELECT * FROM events")
    assert get() == (
        200,
        {
            "events": [
                {
                    "id": row["id"],
                    "type": "order.authorized",
                    "timestamp": rfc3339(row["at"]),
                    "data": {
                        "order_ledger_id": placed["order_ledger_id"],
                        "order_id": None,
                        "client_request_id": "key-7",
                        "reference": "2026-1742",
                        "metadata": {"channel": "web"},
                        "status": "AUTHORIZED",
                        "sequence": 1,
                        "total_amount_cents": 2 * PRICE_CENTS,
                        "refunded_cents": 0,
                        "currency": "USD",
                        "failure": None,
                    },
                }
            ],
            "next_after": row["id"],
        },
    )
    assert re.fullmatch("evt_[0-9a-f]{24}", row["id"])


def test_no_events_is_an_empty_page(get):
    assert get() == (200, {"events": [], "next_after": None})


def test_declined_order_has_one_event(shop, feed):
    shop.order(token="tok_decline_stolen")
    (event,) = feed()
    assert (event["type"], event["data"]["status"]) == ("order.authorization_failed", "AUTHORIZATION_FAILED")
    assert event["data"]["failure"]["code"] == "payment_declined"


def test_abandoned_order_has_one_event(write, feed):
    write.order()
    write(MARK_ABANDONED)
    write(CLOSE_ABANDONED)
    write.commit()
    (event,) = feed()
    assert (event["type"], event["data"]["sequence"]) == ("order.authorization_failed", 1)
    assert event["data"]["failure"] == {"code": "abandoned", "message": "Closed."}


def test_event_keeps_what_the_change_made_of_the_order(write, feed):
    id_, refund = write.completed(), str(uuid.uuid4())
    write("UPDATE order_ledger SET refund_reserved_cents = 50, refunded_cents = 30 WHERE id = %(id)s", id=id_)
    write.refund(id_, refund)
    write.commit()
    write("UPDATE order_ledger SET refunded_cents = 50 WHERE id = %(id)s", id=id_)
    write.commit()
    events = feed()
    assert [event["type"] for event in events] == ["order.authorized", "order.completed", "refund.succeeded"]
    assert [event["data"]["sequence"] for event in events] == [1, 2, 3]
    assert [event["data"]["refunded_cents"] for event in events] == [0, 0, 30]
    assert [event["data"].get("refund_id", "none") for event in events] == ["none", "none", refund]


def test_pages_have_every_event_once_and_in_order(write, feed):
    ids = [write.completed() for _ in range(6)]
    write.commit()
    whole = feed(limit=100)
    assert orders_of(whole) == [id_ for id_ in ids for _ in range(2)]
    for limit in (1, 5, 11, 12, 13):
        assert feed(limit=limit) == whole


def test_page_has_20_events_unless_told_otherwise(write, get):
    for _ in range(11):
        write.completed()
    write.commit()
    assert (len(get()[1]["events"]), len(get(limit=100)[1]["events"])) == (20, 22)


def test_filters_find_the_events_that_fit_all(write, feed):
    first, second = write.completed(), write.completed()
    third = write.order()
    write(DECLINE, id=third)
    write.commit()
    assert orders_of(feed(type="order.completed")) == [first, second]
    assert orders_of(feed(type="order.authorization_failed,order.completed", limit=1)) == [first, second, third]
    assert orders_of(feed(order_ledger_id=second, limit=1)) == [second, second]
    assert orders_of(feed(order_ledger_id=second, type="order.authorized")) == [second]
    assert feed(order_ledger_id=str(uuid.uuid4())) == feed(type="refund.failed") == []
    assert len(feed(type=",".join(EventType))) == 5


def test_after_may_be_an_event_that_does_not_fit_the_filters(write, feed):
    write.completed()
    second = write.completed()
    write.commit()
    after = feed()[2]["id"]
    assert orders_of(feed(after=after, type="order.completed")) == [second]


def test_one_client_sees_no_events_of_another(write, feed, get):
    foreign = write.authorized("other")
    write.commit()
    own = write.authorized()
    write.commit()
    assert orders_of(feed()) == [own]
    assert feed(order_ledger_id=foreign) == []


def test_unknown_after_is_refused_and_looks_like_another_clients(write, get, sql):
    write.authorized("other")
    write.commit()
    foreign = sql("SELECT id FROM events")[0]["id"]
    for after in (foreign, f"evt_{'0' * 24}", f"evt_{'z' * 24}"):
        status, body = get(after=after)
        assert (status, body["error"]) == (400, "validation_error")
        assert "no such event" in body["details"]["after"][0]


def test_reader_goes_on_after_an_event_that_was_deleted(write, feed, sql):
    write.completed()
    second = write.completed()
    write.commit()
    after = feed()[1]["id"]
    sql(DELETE_UP_TO, id=after, client=credentials.CLIENT)
    assert orders_of(feed(after=after)) == [second, second]
    assert orders_of(feed()) == [second, second]


def test_reader_that_has_missed_events_is_told(write, feed, get, sql):
    write.completed()
    write.completed()
    write.commit()
    ids = [event["id"] for event in feed()]
    sql(DELETE_UP_TO, id=ids[2], client=credentials.CLIENT)
    for missed in ids[:2]:
        status, body = get(after=missed)
        assert (status, body["error"]) == (400, "validation_error")
        assert "have been deleted" in body["details"]["after"][0]
    assert len(feed(after=ids[2])) == 1
    assert len(feed(after=ids[1], type="order.completed")) == 1  # of these, none was deleted
    unknown = f"evt_{int(ids[3][4:], 16) + 1:024x}"
    assert "no such event" in get(after=unknown)[1]["details"]["after"][0]


def test_transaction_that_commits_late_is_not_missed(writer, get, get_now):
    """Three transactions write in one order and commit in another. A reader follows meanwhile."""
    late, early, last = writer(), writer(), writer()
    first = late.authorized()
    second = early.authorized()
    early.commit()
    status, page = get_now()
    assert (status, page["events"]) == (200, [])  # the second event waits for the first transaction
    third = last.authorized()
    last.commit()
    late.commit()
    found, after = [], page["next_after"]
    while True:
        _, page = get(limit=1, **({"after": after} if after else {}))
        if not page["events"]:
            break
        found, after = found + page["events"], page["next_after"]
    assert orders_of(found) == [first, second, third]


def test_transaction_that_is_rolled_back_holds_nothing_up(writer, feed, get_now):
    late, early = writer(), writer()
    late.authorized()
    id_ = early.authorized()
    early.commit()
    assert get_now()[1]["events"] == []
    late.close()
    assert orders_of(feed()) == [id_]


def test_events_of_an_order_keep_their_sequence_in_the_feed(writer, feed):
    """The first transaction has the smaller number, and gets the entry last."""
    setup, first, second = writer(), writer(), writer()
    id_ = setup.completed()
    other = setup.completed()
    setup.commit()
    early, late = str(uuid.uuid4()), str(uuid.uuid4())
    first("UPDATE order_ledger SET status_detail = 'has a number' WHERE id = %(id)s", id=other)
    second.refund(id_, early)
    second.commit()
    first.refund(id_, late, "refund.failed")
    first.commit()
    events = feed(order_ledger_id=id_)
    assert [event["data"]["sequence"] for event in events] == [1, 2, 3, 4]
    assert [event["data"].get("refund_id") for event in events] == [None, None, early, late]
    assert orders_of(feed())[-2:] == [id_, id_]


def test_reader_beside_many_writers_misses_none_and_sees_each_once(url, get_now, are_all_shown):
    """Eight connections write at the same time, several orders in each transaction, while a reader follows."""
    written = []

    def write(number):
        with closing(Writer(url)) as own:
            for turn in range(12):
                ids = [own.authorized() for _ in range(1 + (number + turn) % 3)]
                if turn % 5 == 4:
                    own.roll_back()
                    continue
                own.commit()
                written.extend(ids)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    found, after = [], None
    while True:
        is_whole = not any(thread.is_alive() for thread in threads) and are_all_shown()
        status, page = get_now(limit=7, **({"after": after} if after else {}))
        assert status == 200
        found, after = found + orders_of(page["events"]), page["next_after"]
        if not page["events"] and is_whole:
            break
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found))
    assert set(found) == set(written)


def test_erased_order_has_events_without_its_metadata(write, feed):
    id_ = write.authorized()
    write("UPDATE order_ledger SET metadata = '{\"a\": \"b\"}', reference = 'r' WHERE id = %(id)s", id=id_)
    write.commit()
    assert feed()[0]["data"]["metadata"] == {"a": "b"}
    write("UPDATE order_ledger SET metadata = NULL WHERE id = %(id)s", id=id_)
    write.commit()
    assert (feed()[0]["data"]["metadata"], feed()[0]["data"]["reference"]) == ({}, "r")


def test_events_that_were_numbered_again_keep_their_order(write, feed, get_now, sql):
    """As after a restore on another server, whose transactions have smaller numbers."""
    ids = [write.completed() for _ in range(3)]
    write.commit()
    before = feed()
    sql("UPDATE events SET xid = (xid::text::bigint + 9000000000)::text::xid8")
    assert get_now()[1]["events"] == []
    sql(RENUMBER)
    ids.append(write.authorized())
    write.commit()
    assert [event["id"] for event in feed()][:-1] == [event["id"] for event in before]
    assert orders_of(feed(after=before[-1]["id"])) == ids[-1:]


def test_nobody_but_the_owner_may_add_an_event(sql):
    (row,) = sql("SELECT proacl::text AS acl, prosecdef FROM pg_proc WHERE proname = 'add_event'")
    assert row["prosecdef"]
    assert not re.search(r"[{,]=X", row["acl"])
