"""Threads, and what happens to claims when something goes wrong."""

from __future__ import annotations

import threading

import pytest

from common.database.database import Database
from common.database.errors import DatabaseUnavailable
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
    start(threads=4).run_once()
    eventually(lambda: {row["status"] for row in world.deliveries(healthy)} == {"succeeded"})
    assert len([each for each in attempts.begun if each.url in urls]) == 2


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


def test_one_connection_is_enough_for_all_threads(world, store, attempts, start, url, monkeypatch):
    database = Database(url, name="small", size=1)
    monkeypatch.setattr(store, "database", database)
    urls = [f"https://shop-{number}.example/" for number in range(16)]
    attempts.hold(*urls)
    endpoints = [world.endpoint(url) for url in urls]
    world.event(world.order())
    store.fan_out()
    assert start(threads=16).run_once() == 16
    for held in attempts.go.values():
        held.set()
    eventually(lambda: all(world.deliveries(each)[0]["status"] == "succeeded" for each in endpoints))
    assert len(attempts.begun) == 16
    database.close()


def test_claim_is_given_back_when_the_outcome_cannot_be_saved(world, store, start, monkeypatch):
    endpoint = world.endpoint()
    world.event(world.order())
    store.fan_out()
    with monkeypatch.context() as patched:
        patched.setattr(store, "save", lambda *_: (_ for _ in ()).throw(DatabaseUnavailable()))
        dispatcher = start()
        dispatcher.run_once()
        eventually(lambda: dispatcher.in_flight == 0)
    dispatcher.run_once()
    (row,) = world.deliveries(endpoint)
    assert (row["status"], row["attempts"], row["claimed_by"]) == ("pending", 0, None)


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
