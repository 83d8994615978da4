"""The real process: signed deliveries, receivers that fail, SIGTERM and SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.waiting import eventually
from tests.webhooks.conftest import PROJECT
from tests.webhooks.test_signature import by_openssl


def ended(world, endpoint, count):
    return sum(row["status"] == "succeeded" for row in world.deliveries(endpoint)) == count


def test_event_arrives_signed(start, world, receiver):
    endpoint, event = world.endpoint(f"{receiver.url}/hook"), world.event(world.order())
    start()
    eventually(lambda: ended(world, endpoint, 1))
    (heard,) = receiver.heard
    assert heard.id == event
    content = f"{heard.id}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    assert heard.headers["webhook-signature"] == f"v1,{by_openssl(world.secrets[endpoint], content)}"
    assert heard.event["type"] == "order.authorized"


def test_failing_hanging_and_dying_receivers_get_everything_in_order(start, world, receiver):
    """Each order's events arrive in order, whatever happens to single attempts. Repetitions have the same id."""
    endpoint = world.endpoint(f"{receiver.url}/hook")
    number = 0

    def answer(received):
        nonlocal number
        number += 1
        if number % 5 == 0:
            return None  # dies
        if number % 7 == 0:
            receiver.go.wait(3)  # longer than the limit
        return 500 if number % 3 == 0 else 204

    receiver.answer = answer
    orders = [world.order() for _ in range(4)]
    events = {order: [world.event(order, number) for number in (1, 2, 3)] for order in orders}
    start(WEBHOOK_TIMEOUT_S="1")

    def all_ended():
        world.let_retries_be_due(endpoint)
        return ended(world, endpoint, 12)

    eventually(all_ended, 90)
    in_order = defaultdict(list)
    for heard in receiver.heard:
        order = heard.event["data"]["order_ledger_id"]
        if heard.id not in in_order[order]:
            in_order[order].append(heard.id)
    assert in_order == events
    assert len(receiver.heard) > 12


def test_killed_process_leaves_nothing_undelivered(start, world, receiver):
    """SIGKILL between the claim and the answer. Another process takes over when the lease ends."""
    endpoint, order = world.endpoint(f"{receiver.url}/hang"), world.order()
    events = [world.event(order, number) for number in (1, 2)]
    first = start(WEBHOOK_LEASE_S="2.1")
    eventually(lambda: receiver.heard)
    first.kill()
    first.wait()
    receiver.go.set()
    assert [row["claimed_by"] is not None for row in world.deliveries(endpoint)] == [True, False]
    start()
    eventually(lambda: ended(world, endpoint, 2))
    assert [heard.id for heard in receiver.heard] == [events[0], events[0], events[1]]
    assert receiver.heard[0].body == receiver.heard[1].body


def test_sigterm_waits_for_the_attempt_in_flight(start, world, receiver):
    endpoint, event = world.endpoint(f"{receiver.url}/hang"), world.event(world.order())
    process = start(WEBHOOK_TIMEOUT_S="10")
    eventually(lambda: receiver.heard)
    process.send_signal(signal.SIGTERM)
    receiver.go.set()
    assert process.wait(25) == 0
    assert [(row["event_id"], row["status"]) for row in world.deliveries(endpoint)] == [(event, "succeeded")]


def test_no_transaction_is_open_during_a_call(start, world, receiver, database):
    world.endpoint(f"{receiver.url}/hang")
    world.event(world.order())
    start(WEBHOOK_TIMEOUT_S="10")
    eventually(lambda: receiver.heard)
    assert database.all("SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'") == []
    receiver.go.set()


def test_two_processes_deliver_each_event_once(start, world, receiver):
    endpoint = world.endpoint(f"{receiver.url}/hook")
    start()
    start()
    events = {world.event(world.order()) for _ in range(30)}
    eventually(lambda: ended(world, endpoint, 30), 60)
    assert sorted(heard.id for heard in receiver.heard) == sorted(events)


def test_address_that_is_not_public_is_refused_with_the_reason(start, world, receiver, shown):
    endpoint = world.endpoint(f"{receiver.url}/hook")
    world.event(world.order())
    start(WEBHOOK_ALLOW_NETWORKS="")
    eventually(lambda: world.deliveries(endpoint) and world.deliveries(endpoint)[0]["attempts"])
    failing, (delivery,) = shown(endpoint)
    assert "127.0.0.0/8 (loopback)" in delivery["error"]
    assert (delivery["attempts"], delivery["response_status"]) == (1, None)
    assert failing["failing_since"] is not None
    assert receiver.heard == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("WEBHOOK_THREADS", "0"), ("WEBHOOK_TIMEOUT_S", "16"), ("DATABASE_URL", ""), ("WEBHOOK_ALLOW_NETWORKS", "home")],
)
def test_invalid_setting_is_reported_in_one_line(name, value):
    environ = {"DATABASE_URL": "postgresql://x/y", name: value}
    done = subprocess.run(
        [sys.executable, "-m", "webhooks"], cwd=PROJECT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
