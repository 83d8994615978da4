"""Each event of a client becomes one delivery for each of its enabled endpoints, also if it commits late."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from tests.webhooks.conftest import EVENT


def test_each_event_becomes_a_delivery_for_each_endpoint_that_wants_it(world, store):
    every, some = world.endpoint(), world.endpoint(event_types=("order.completed",))
    other = world.endpoint(client="till")
    order = world.order()
    first, second = world.event(order, 1), world.event(order, 2, "order.completed")
    assert store.fan_out() == 4  # two endpoints have read two events each
    assert [row["event_id"] for row in world.deliveries(every)] == [first, second]
    assert [row["event_id"] for row in world.deliveries(some)] == [second]
    assert world.deliveries(other) == []
    assert store.fan_out() == 0


def test_an_endpoint_receives_no_events_from_before_it_was_made(world, store):
    world.event(world.order())
    endpoint = world.endpoint()
    after = world.event(world.order())
    store.fan_out()
    assert [row["event_id"] for row in world.deliveries(endpoint)] == [after]


def test_event_of_a_transaction_that_commits_late_is_delivered(world, store, url):
    endpoint, orders = world.endpoint(), [world.order(), world.order()]
    with closing(psycopg2.connect(url)) as late:
        parameters = {"id": "evt_late", "client": "shop", "order": orders[0], "sequence": 1, "type": "order.authorized"}
        late.cursor().execute(EVENT, parameters)
        early = world.event(orders[1])  # has a higher number, and commits first
        assert store.fan_out() == 0
        late.commit()
    store.fan_out()
    assert {row["event_id"] for row in world.deliveries(endpoint)} == {"evt_late", early}


def test_a_disabled_endpoint_receives_its_events_once_it_is_enabled(world, store):
    endpoint = world.endpoint()
    world.set_endpoint(endpoint, "status = 'disabled', disabled_at = now(), disabled_reason = 'asked to'")
    event = world.event(world.order())
    assert store.fan_out() == 0
    world.set_endpoint(endpoint, "status = 'enabled', disabled_at = NULL, disabled_reason = NULL")
    store.fan_out()
    assert [row["event_id"] for row in world.deliveries(endpoint)] == [event]


def test_batches_continue_where_the_last_one_ended(world, store, monkeypatch):
    monkeypatch.setattr("webhooks.store.BATCH", 2)
    endpoint, order = world.endpoint(), world.order()
    events = [world.event(order, number) for number in range(1, 6)]
    assert [store.fan_out() for _ in range(4)] == [2, 2, 1, 0]
    assert [row["event_id"] for row in world.deliveries(endpoint)] == events


def test_deleted_event_takes_its_deliveries_with_it(world, store, database):
    endpoint, event = world.endpoint(), world.event(world.order())
    store.fan_out()
    database.all("DELETE FROM events WHERE id = %(id)s", id=event)
    assert world.deliveries(endpoint) == []


def test_event_that_comes_late_gives_the_one_that_blocks_it_another_attempt(world, store):
    """The next attempt of the first event is in two hours, and it blocks the second for one hour."""
    endpoint, order = world.endpoint(), world.order()
    first = world.event(order)
    store.fan_out()
    world.set_delivery(
        first, "attempts = 4, first_attempt_at = now() - interval '40 minutes', due_at = now() + interval '2 hours'"
    )
    world.event(order, 2)
    store.fan_out()
    blocking, waiting = world.deliveries(endpoint)
    assert 0 < blocking["due_in_s"] < waiting["due_in_s"] <= 20 * 60
