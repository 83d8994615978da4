"""Threads, and what happens to claims when something goes wrong."""

from __future__ import annotations

import threading

import pytest

from common.database.database import Database
from common.database.errors import DatabaseUnavailable
from tests.other_session import other_session
from tests.waiting import eventually
from webhooks.delivery import Answer
from webhooks.dispatcher import Dispatcher


class Attempts:
    """Attempts that a test lets end, by the endpoint's URL."""

    def __init__(self):
        self.begun, self.go = [], {}

    def hold(self, *urls):
        self.go |= {url: threading.Event() for url in urls}

    def __call__(self, delivery):
        self.begun.append(delivery)
        if held := self.go.get(delivery.url):
            held.wait(60)
        return Answer(204)

    def to(self, url):
        return [delivery for delivery in self.begun if delivery.url == url]


@pytest.fixture
def attempts():
    attempts = Attempts()
    yield attempts
    for event in attempts.go.values():
        event.set()


@pytest.fixture
def start(store, attempts):
    started = []

    def make(threads=8):
        started.append(Dispatcher(store, attempts, threads, 0.05))
        return started[-1]

    yield make
    for event in attempts.go.values():
        event.set()
    for dispatcher in started:
        dispatcher.stop()


def run_until(dispatcher, condition):
    """Run it round by round until the condition holds."""
    eventually(lambda: [dispatcher.run_once(), condition()][1])


def run_until_idle(dispatcher):
    run_until(dispatcher, lambda: dispatcher.in_flight == 0)


def unavailable(*_, **__):
    raise DatabaseUnavailable


def test_slow_receiver_does_not_hold_up_others(world, store, attempts, start):
    attempts.hold("https://slow.example/")
    slow, quick = world.endpoint("https://slow.example/"), world.endpoint("https://quick.example/")
    for _ in range(10):
        world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=8)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    eventually(lambda: {row["status"] for row in world.deliveries(quick)} == {"succeeded"})
    assert len(attempts.to("https://slow.example/")) == 4  # as many as one endpoint may have
    attempts.go["https://slow.example/"].set()
    eventually(lambda: {row["status"] for row in world.deliveries(slow)} == {"succeeded"})
    dispatcher.stop()
    thread.join(20)


def test_endpoints_that_fail_have_at_most_half_of_the_threads(world, store, attempts, start):
    urls = [f"https://failing-{number}.example/" for number in range(4)]
    attempts.hold(*urls)
    for url in urls:
        world.set_endpoint(world.endpoint(url), "failing_since = now()")
    healthy = world.endpoint("https://healthy.example/")
    world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=4)
    run_until(dispatcher, lambda: {row["status"] for row in world.deliveries(healthy)} == {"succeeded"})
    assert len([each for each in attempts.begun if each.url in urls]) == 2


@pytest.fixture
def clock(monkeypatch):
    """`clock[0]` is the time by which attempts are slow."""
    clock = [0.0]
    monkeypatch.setattr("webhooks.slow.monotonic", lambda: clock[0])
    return clock


def make_due_before(world, *endpoints):
    for each in endpoints:
        world.database.all(
            "UPDATE webhook_deliveries SET due_at = due_at - interval '1 minute'"
            " WHERE endpoint_id = %(id)s AND status = 'pending' AND claimed_by IS NULL",
            id=each,
        )


def test_receivers_that_hang_have_at_most_half_of_the_threads(world, store, attempts, start, clock):
    """They have not failed yet."""
    urls = [f"https://hanging-{number}.example/" for number in range(5)]
    attempts.hold(*urls)
    hanging = [world.endpoint(url) for url in urls]
    world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=10)
    dispatcher.run_once()
    eventually(lambda: len(attempts.begun) == 5)
    clock[0] = 2.5
    quick = world.endpoint("https://quick.example/")
    for _ in range(4):
        world.event(world.order())
    store.fan_out()
    make_due_before(world, *hanging)
    dispatcher.wake()
    run_until(dispatcher, lambda: {row["status"] for row in world.deliveries(quick)} == {"succeeded"})
    assert [len(attempts.to(url)) for url in urls] == [1] * 5


def test_receivers_that_succeed_slowly_have_at_most_half_of_the_threads(world, store, attempts, start, clock):
    urls = [f"https://slow-{number}.example/" for number in range(2)]
    attempts.hold(*urls)
    slow, quick = [world.endpoint(url) for url in urls], world.endpoint("https://quick.example/", client="other")
    for _ in range(12):
        world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=8)
    assert dispatcher.run_once() == 8
    eventually(lambda: len(attempts.begun) == 8)
    clock[0] = 2.5
    first = list(attempts.go.values())
    attempts.hold(*urls)
    for held in first:
        held.set()
    world.event(world.order("other"), client="other")
    store.fan_out()
    make_due_before(world, *slow)
    dispatcher.wake()
    run_until(dispatcher, lambda: {row["status"] for row in world.deliveries(quick)} == {"succeeded"})
    run_until(dispatcher, lambda: len(attempts.begun) == 8 + 2 + 1)
    assert [len(attempts.to(url)) for url in urls] == [5, 5], "one in flight for each"


def test_new_receivers_that_hang_have_at_most_half_of_the_threads(world, store, attempts, start):
    urls = [f"https://new-{number}.example/" for number in range(5)]
    attempts.hold(*urls)
    for url in urls:
        world.set_endpoint(world.endpoint(url), "last_success_at = NULL")
    quick = world.endpoint("https://quick.example/")
    for _ in range(4):
        world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=8)
    run_until(dispatcher, lambda: {row["status"] for row in world.deliveries(quick)} == {"succeeded"})
    assert sum(len(attempts.to(url)) for url in urls) == 4


def test_no_more_is_claimed_than_there_are_threads(world, store, attempts, start):
    urls = [f"https://shop-{number}.example/" for number in range(5)]
    attempts.hold(*urls)
    for url in urls:
        world.endpoint(url)
    world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=3)
    assert dispatcher.run_once() == 3
    assert dispatcher.run_once() == 0
    assert dispatcher.in_flight == 3


def test_quick_endpoints_with_a_backlog_hold_up_no_other(world, store, attempts, start):
    """They have all threads. The next free one goes to the endpoint that has waited longest."""
    busy = [world.endpoint(f"https://busy-{number}.example/") for number in range(2)]
    attempts.hold("https://busy-0.example/", "https://busy-1.example/")
    for _ in range(5):
        world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=2)
    run_until(dispatcher, lambda: len(attempts.begun) == 2)
    world.endpoint("https://waits.example/")
    waiting = world.event(world.order())
    store.fan_out()
    world.set_delivery(waiting, "due_at = now() + interval '1 hour'")
    world.database.all(
        "UPDATE webhook_deliveries SET due_at = now() - interval '1 hour' WHERE message_id = %(id)s"
        " AND endpoint_id <> ALL (%(busy)s)",
        id=waiting,
        busy=busy,
    )
    dispatcher.run_once()  # no thread is free
    for held in attempts.go.values():
        held.set()
    run_until(dispatcher, lambda: len(attempts.begun) >= 4)
    assert "https://waits.example/" in [delivery.url for delivery in attempts.begun[2:4]]


def test_one_connection_is_enough_for_all_threads(world, store, attempts, start, url, monkeypatch):
    database = Database(url, name="small", size=1)
    monkeypatch.setattr(store, "database", database)
    urls = [f"https://shop-{number}.example/" for number in range(16)]
    attempts.hold(*urls)
    endpoints = [world.endpoint(url) for url in urls]
    world.event(world.order())
    store.fan_out()
    dispatcher = start(threads=16)
    assert dispatcher.run_once() == 16
    for held in attempts.go.values():
        held.set()
    run_until(dispatcher, lambda: all(world.deliveries(each)[0]["status"] == "succeeded" for each in endpoints))
    assert len(attempts.begun) == 16
    database.close()


def test_outcome_is_saved_once_the_database_answers_again(world, store, attempts, start, monkeypatch):
    endpoint = world.endpoint()
    world.event(world.order())
    store.fan_out()
    dispatcher = start()
    dispatcher.run_once()
    eventually(lambda: attempts.begun)
    with monkeypatch.context() as patched:
        patched.setattr(store, "turn", unavailable)
        dispatcher.run_once()
        dispatcher.run_once()
        assert dispatcher.in_flight == 1
    run_until_idle(dispatcher)
    assert world.deliveries(endpoint)[0]["status"] == "succeeded"
    assert len(attempts.begun) == 1


def test_claim_whose_answer_is_lost_is_given_back(world, store, attempts, start, monkeypatch):
    """The transaction that saves an outcome and claims the next delivery commits, and its answer is lost."""
    endpoint, order = world.endpoint(), world.order()
    world.event(order, 1), world.event(order, 2)
    store.fan_out()
    dispatcher = start()
    dispatcher.run_once()
    eventually(lambda: attempts.begun)
    turn = store.turn
    with monkeypatch.context() as patched:
        patched.setattr(store, "turn", lambda *given: [turn(*given), unavailable()])
        eventually(lambda: [dispatcher.run_once(), world.deliveries(endpoint)[0]["status"] == "succeeded"][1])
    assert [row["claimed_by"] is None for row in world.deliveries(endpoint)] == [True, False]
    run_until_idle(dispatcher)
    assert [row["claimed_by"] for row in world.deliveries(endpoint)] == [None, None]
    assert len(attempts.begun) == 1


def test_outcome_that_cannot_be_saved_costs_the_others_nothing(world, store, attempts, start, monkeypatch, caplog):
    endpoint = world.endpoint()
    for _ in range(3):
        world.event(world.order())
    store.fan_out()
    poison = "\0"  # PostgreSQL cannot store it
    outcomes = iter([Answer(204), Answer(204, poison), Answer(204)])
    monkeypatch.setattr(Attempts, "__call__", lambda _, delivery: next(outcomes))
    dispatcher = start()
    dispatcher.run_once()
    run_until_idle(dispatcher)
    assert sorted(row["status"] for row in world.deliveries(endpoint)) == ["pending", "succeeded", "succeeded"]
    assert "cannot be processed, the others go on" in caplog.text


def test_outcomes_are_saved_when_the_process_stops(world, store, attempts, start):
    endpoint = world.endpoint()
    world.event(world.order())
    store.fan_out()
    dispatcher = start()
    dispatcher.run_once()
    dispatcher.stop()
    assert world.deliveries(endpoint)[0]["status"] == "succeeded"


def test_endpoint_that_somebody_changes_delays_nothing(url, world, store, attempts, start):
    locked, other = world.endpoint(), world.endpoint()
    world.event(world.order())
    store.fan_out()
    dispatcher = start()
    dispatcher.run_once()
    with other_session(url) as cursor:
        cursor.execute("SELECT 1 FROM webhook_endpoints WHERE id = %s FOR UPDATE", (locked,))
        run_until(dispatcher, lambda: world.deliveries(other)[0]["status"] == "succeeded")
        assert world.deliveries(locked)[0]["status"] == "pending"
    run_until_idle(dispatcher)
    assert world.deliveries(locked)[0]["status"] == "succeeded"
    assert len(attempts.begun) == 2


def test_attempt_that_raises_does_not_end_the_thread(world, store, start, attempts, monkeypatch, caplog):
    endpoint = world.endpoint()
    world.event(world.order())
    store.fan_out()
    dispatcher = start()
    monkeypatch.setattr(attempts, "begun", None)  # the attempt fails with an AttributeError
    dispatcher.run_once()
    eventually(lambda: dispatcher.in_flight == 0)
    assert "a delivery cannot be processed, the others go on: AttributeError" in caplog.text
    assert world.deliveries(endpoint)[0]["status"] == "pending"
