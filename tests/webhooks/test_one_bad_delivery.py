"""A delivery or an endpoint that is locked, or that the database refuses to write, stops no other."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager

import psycopg2
import pytest

from common.database.errors import DatabaseUnavailable
from tests.other_session import other_session
from tests.waiting import eventually
from webhooks.delivery import Answer
from webhooks.dispatcher import Dispatcher
from webhooks.fan_out import FanOut
from webhooks.store import Store

YES = Answer(204)
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE {change} ON webhook_deliveries FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()
"""
NO = "RAISE EXCEPTION 'the plugin has no such delivery'"
CONFLICT = "RAISE EXCEPTION 'the plugin is busy' USING ERRCODE = 'serialization_failure'"
CLAIM, OUTCOME = "NEW.claim_number > OLD.claim_number", "NEW.attempts > OLD.attempts"


def run(url, statement):
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def refused(url):
    """`with refused("UPDATE", "OLD.message_id = 'evt_1'"):` the database refuses such changes of deliveries."""

    @contextmanager
    def refuse(change, when, body=NO):
        run(url, REFUSE.format(body=body, change=change, when=when))
        try:
            yield
        finally:
            run(url, "DROP FUNCTION IF EXISTS refuse CASCADE")

    return refuse


@pytest.fixture
def locked(url):
    """`with locked("webhook_endpoints", id=endpoint):` another session holds the row."""

    @contextmanager
    def lock(table, **column):
        ((name, value),) = column.items()
        with other_session(url) as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE {name} = %s FOR UPDATE", (value,))
            yield

    return lock


@pytest.fixture
def impatient(monkeypatch):
    """A lock is waited for 0.1 s, so that the test does not take 2 s."""
    monkeypatch.setattr("common.database.lock_wait.LOCK_WAIT_S", 0.1)


def succeeded(world, endpoint):
    return {row["message_id"] for row in world.deliveries(endpoint) if row["status"] == "succeeded"}


@pytest.mark.parametrize(
    ("when", "body"), [(CLAIM, NO), (OUTCOME, NO), (CLAIM, CONFLICT)], ids=["claim", "outcome", "conflict"]
)
def test_refused_delivery_stops_no_other(start, world, receiver, refused, when, body):
    """With the real process, which goes on. The refused one is delivered once the database accepts it."""
    bad, good = world.endpoint(f"{receiver.url}/bad"), world.endpoint(f"{receiver.url}/good")
    poison, *others = [world.event(world.order()) for _ in range(4)]
    is_poison = f"OLD.endpoint_id = '{bad}' AND OLD.message_id = '{poison}'"
    with refused("UPDATE", f"{is_poison} AND {when}", body):
        process = start()
        eventually(lambda: succeeded(world, good) == {poison, *others} and succeeded(world, bad) == set(others))
        later = world.event(world.order())
        eventually(lambda: later in succeeded(world, bad))
        assert process.poll() is None
        sent = [heard for heard in receiver.heard if (heard.path, heard.id) == ("/bad", poison)]
        assert len(sent) == (when == OUTCOME), "it is not sent again and again"
    world.let_time_pass(bad)
    start()  # the first process has set it aside
    eventually(lambda: poison in succeeded(world, bad))


def test_locked_delivery_is_left_out_and_claimed_later(world, store, locked, impatient, caplog):
    endpoint = world.endpoint()
    held, other = world.event(world.order()), world.event(world.order())
    store.fan_out()
    with locked("webhook_deliveries", message_id=held):
        assert [delivery.message_id for delivery in store.claim(endpoint, 10)] == [other]
    assert [delivery.message_id for delivery in store.claim(endpoint, 10)] == [held]
    assert "must wait" not in caplog.text


def test_locked_claim_keeps_no_other_from_being_given_back(world, store, locked, impatient):
    endpoint = world.endpoint()
    held, other = world.event(world.order()), world.event(world.order())
    store.fan_out()
    store.claim(endpoint, 10)
    with locked("webhook_deliveries", message_id=held):
        store.release_stranded([])
    assert {row["message_id"]: row["claimed_by"] for row in world.deliveries(endpoint)} == {held: "me", other: None}


@pytest.mark.parametrize("table", ["webhook_endpoints", "webhook_deliveries"])
def test_outcome_is_saved_when_the_lock_is_gone(world, store, locked, impatient, table):
    """Otherwise the receiver would be asked again, although it has answered."""
    endpoint, sent = world.endpoint(), []
    world.event(world.order())
    store.fan_out()
    dispatcher = Dispatcher(store, lambda delivery: sent.append(delivery) or YES, 2, 0.05)
    dispatcher.run_once()
    eventually(lambda: sent)
    row = {"webhook_endpoints": endpoint, "webhook_deliveries": sent[0].id}
    with locked(table, id=row[table]):
        for _ in range(3):
            dispatcher.run_once()
        assert dispatcher.in_flight == 1
    eventually(lambda: [dispatcher.run_once(), dispatcher.in_flight == 0][1])
    dispatcher.stop()
    assert world.deliveries(endpoint)[0]["status"] == "succeeded"
    assert len(sent) == 1


def test_endpoint_whose_deliveries_are_refused_stops_no_other(world, store, refused, database, caplog):
    bad, good = world.endpoint(), world.endpoint()
    event = world.event(world.order())
    with refused("INSERT", f"NEW.endpoint_id = '{bad}'"):
        store.fan_out()
        assert [row["event_id"] for row in world.deliveries(good)] == [event]
        assert "the plugin has no such delivery" in caplog.text
        caplog.clear()
        store.fan_out()
        assert caplog.text == "", "it is set aside"
    Store(database, "another process", 4, 60).fan_out()
    assert [row["event_id"] for row in world.deliveries(bad)] == [event], "no event is left out"


def test_locked_delivery_keeps_no_other_endpoint_from_its_events(world, store, locked, impatient):
    """The next event of its order is put behind it, which waits for the lock."""
    some, every = world.endpoint(event_types=("order.authorized",)), world.endpoint()
    order = world.order()
    first = world.event(order, 1)
    store.fan_out()
    (held,) = (row["id"] for row in world.deliveries(every))
    second = world.event(order, 2)
    with locked("webhook_deliveries", id=held):
        store.fan_out()
        assert [row["event_id"] for row in world.deliveries(some)] == [first, second]
    store.fan_out()
    assert [row["event_id"] for row in world.deliveries(every)] == [first, second]


@pytest.mark.parametrize("since", ["2 hours", "6 days"])
def test_locked_endpoint_that_fails_keeps_no_other_from_its_events(world, store, locked, impatient, since):
    failing, healthy = world.endpoint(), world.endpoint()
    world.set_endpoint(failing, f"failing_since = now() - interval '{since}'")
    event = world.event(world.order())
    with locked("webhook_endpoints", id=failing):
        assert FanOut(store, lambda: None, 1, threading.Event()).run_once() == 1
    assert [row["event_id"] for row in world.deliveries(healthy)] == [event]


def test_database_that_is_lost_is_no_fault_of_a_delivery(world, store, monkeypatch):
    endpoint = world.endpoint()

    def lost(_):
        raise DatabaseUnavailable

    monkeypatch.setattr(store.database, "transact", lost)
    with pytest.raises(DatabaseUnavailable):
        store.claim(endpoint, 10)
