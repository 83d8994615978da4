"""A receiver is down for an hour. The hour passes in the database."""

from __future__ import annotations

from collections import defaultdict

from tests.waiting import eventually

LATER = """
UPDATE webhook_deliveries SET due_at = CASE WHEN due_at < 'infinity' THEN due_at - %(by)s::interval ELSE due_at END,
  first_attempt_at = first_attempt_at - %(by)s::interval, last_attempt_at = last_attempt_at - %(by)s::interval,
  claimed_until = claimed_until - %(by)s::interval
WHERE status = 'pending'
"""
QUIET = """
SELECT count(*) = 0 AS yes FROM webhook_deliveries
WHERE endpoint_id = %(endpoint)s AND status = 'pending' AND (due_at <= now() OR claimed_by IS NOT NULL)
"""
MINUTES = (1, 5, 15, 15, 15, 8)  # together 59


def test_receiver_that_was_down_for_an_hour_gets_everything_in_order(start, world, receiver):
    """Some orders begin while it is down. What it gets twice has the same id and the same content."""
    endpoint = world.endpoint(f"{receiver.url}/hook")
    receiver.answer = lambda _: 503
    start()
    events = defaultdict(list)

    def happens(order, count):
        for _ in range(count):
            events[order].append(world.event(order, len(events[order]) + 1))

    def all_was_tried():
        eventually(lambda: world.database.all(QUIET, endpoint=endpoint)[0]["yes"], 60)

    def later(minutes):
        world.database.all(LATER, by=f"{minutes} minutes")
        all_was_tried()

    for minutes in MINUTES:
        happens(world.order(), 2)
        for order in list(events):
            happens(order, 1)
        eventually(lambda: len(world.deliveries(endpoint)) == sum(map(len, events.values())))
        all_was_tried()
        later(minutes)
    assert [row for row in world.deliveries(endpoint) if row["status"] != "pending"] == []
    receiver.answer = lambda _: 204
    begun = len(receiver.heard)
    for _ in range(8):
        later(15)
    arrived = defaultdict(list)
    for heard in receiver.heard[begun:]:
        arrived[heard.event["data"]["order_ledger_id"]].append(heard.id)
    assert arrived == events, "each event once, in the order's sequence"
    bodies = defaultdict(set)
    for heard in receiver.heard:
        bodies[heard.id].add(heard.body)
    assert all(len(each) == 1 for each in bodies.values())
    assert len(receiver.heard) > len(bodies), "some events were attempted several times"
