"""The real process alerts operators, and delivers as well."""

from __future__ import annotations

import pytest
from standardwebhooks.webhooks import Webhook

from common.webhooks.secrets import new_secret
from tests.waiting import eventually
from tests.webhooks.test_alerts import MARK

PENDING = "SELECT * FROM operator_alerts WHERE message_id IS NOT NULL"
TOLD = "SELECT * FROM operator_alerts WHERE message_id IS NULL"


@pytest.fixture
def marked(world, database):
    """An order that needs attention."""
    id_ = world.order()
    database.all(MARK, id=id_)
    return id_


def test_process_tells_operators_signed(start, marked, receiver, database):
    secret = new_secret()
    start(ALERT_WEBHOOK_URL=f"{receiver.url}/alerts", ALERT_WEBHOOK_SECRET=secret)
    eventually(lambda: database.all(TOLD))
    (told,) = receiver.heard
    assert told.path == "/alerts"
    assert Webhook(secret).verify(told.body, dict(told.headers.items()))["data"]["kind"] == "attention"


def test_process_tells_slack(start, marked, receiver, database):
    start(ALERT_WEBHOOK_URL=receiver.url, ALERT_WEBHOOK_FORMAT="slack", HOLDFAST_CONSOLE_URL="https://c.example")
    eventually(lambda: database.all(TOLD))
    (told,) = receiver.heard
    assert told.event.keys() == {"text"}
    assert "Open https://c.example/attention" in told.event["text"]


def test_two_processes_tell_once(start, marked, receiver, database):
    for _ in range(2):
        start(ALERT_WEBHOOK_URL=receiver.url)
    eventually(lambda: database.all(TOLD))
    eventually(lambda: database.all("SELECT * FROM operator_alerts WHERE seen_at > told_at"))  # the other one looked
    assert len(receiver.heard) == 1


def test_without_a_url_nothing_is_sent_or_noted(start, marked, receiver, database, world):
    """The delivery to a client arrives, so the process has worked."""
    world.endpoint(f"{receiver.url}/hook")
    event = world.event(world.order())
    start()
    eventually(lambda: receiver.answered)
    assert [heard.id for heard in receiver.heard] == [event]
    assert database.all("SELECT * FROM operator_alerts") == []


def test_killed_process_leaves_the_message_to_another(start, marked, receiver, database):
    first = start(ALERT_WEBHOOK_URL=f"{receiver.url}/hang", WEBHOOK_LEASE_S="2.1")
    eventually(lambda: receiver.heard)
    first.kill()
    first.wait()
    receiver.go.set()
    eventually(lambda: database.all("SELECT * FROM operator_alerts WHERE due_at < now()"))
    start(ALERT_WEBHOOK_URL=f"{receiver.url}/hook")
    eventually(lambda: database.all(TOLD))
    before, after = receiver.heard
    assert (before.id, before.body) == (after.id, after.body)


def test_receiver_that_hangs_delays_no_delivery(start, marked, receiver, database, world):
    world.endpoint(f"{receiver.url}/hook")
    start(ALERT_WEBHOOK_URL=f"{receiver.url}/hang", WEBHOOK_TIMEOUT_S="10")
    eventually(lambda: receiver.heard)
    event = world.event(world.order())
    eventually(lambda: [heard for heard in receiver.answered if heard.id == event])
    assert database.all(PENDING)
    receiver.go.set()


def test_private_address_is_refused_unless_it_is_allowed(start, marked, receiver, database):
    start(ALERT_WEBHOOK_URL=f"{receiver.url}/secret-path", WEBHOOK_ALLOW_NETWORKS="")
    eventually(lambda: "WEBHOOK_ALLOW_NETWORKS does not name that network" in start.log.read_text())
    assert receiver.heard == []
    assert "secret-path" not in start.log.read_text()
    assert database.all(PENDING)
