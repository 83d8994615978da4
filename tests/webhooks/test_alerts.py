"""What operators are told: each condition when it begins, when it has grown, and when it has ended."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook

from common.database.errors import TransientDatabaseError
from common.webhooks.secrets import new_secret
from tests.at_once import at_once
from tests.waiting import eventually
from tests.webhooks.test_sending import LOOPBACK
from webhooks import alert_store, alert_text
from webhooks.alert_conditions import SOURCES, Source
from webhooks.alert_store import AlertStore
from webhooks.alerts import Alerts, Receiver
from webhooks.sending import Sender
from webhooks.store import GONE

SECRET = new_secret()
CONSOLE = "https://console.example/ops"
MARK = """
UPDATE order_ledger SET needs_attention_at = now() - interval '2 hours', attention_reason = 'card of ada@shop.example'
WHERE id = %(id)s
"""
HEARTBEATS = """
CREATE TABLE IF NOT EXISTS process_heartbeats (instance text, process text, host text, pid integer, version text,
  started_at timestamptz, seen_at timestamptz, pools jsonb, open_breakers text[], loops jsonb)
"""
BEAT = """
INSERT INTO process_heartbeats (instance, process, host, pid, version, started_at, seen_at, pools, open_breakers, loops)
VALUES (%(name)s, 'orchestrator', 'here', 1, '1', %(started)s::interval + now(), %(seen)s::interval + now(),
  '{}', '{}', '{}')
"""
AUDIT_RUNS = """
CREATE TABLE IF NOT EXISTS audit_runs (at timestamptz, took_ms bigint, healthy boolean, violations jsonb,
  rows_found bigint)
"""
AUDITED = """
INSERT INTO audit_runs (at, took_ms, healthy, violations, rows_found)
VALUES (%(at)s::interval + now(), 1, %(found)s = 0, '{}', %(found)s)
"""


class Operators:
    """A process that tells operators, and what tests change in the database."""

    def __init__(self, world, receiver, tls, form="json", secret=SECRET, console=""):
        self.world, self.receiver, self.all = world, receiver, world.database.all
        sender = Sender(tls, LOOPBACK, 5)
        to = Receiver(sender.post, f"{receiver.url}/alerts/", form, secret, console)
        self.stopping = threading.Event()
        self.store = AlertStore(world.database, 60)
        self.alerts = Alerts(self.store, to, self.stopping)

    def look(self):
        """:returns: what was sent: (event, kind, count)"""
        before = len(self.receiver.heard)
        self.alerts.run_once()
        return [short(each) for each in self.receiver.heard[before:]]

    def needs_attention(self):
        id_ = self.world.order()
        self.all(MARK, id=id_)
        return id_

    def dealt_with(self, id_):
        self.all("UPDATE order_ledger SET needs_attention_at = NULL, attention_reason = NULL WHERE id = %(i)s", i=id_)

    def let_pass(self, hours=0, minutes=0):
        """Let time pass for every alert, without waiting."""
        self.all(
            "UPDATE operator_alerts SET told_at = told_at - make_interval(hours => %(h)s, mins => %(m)s),"
            " seen_at = seen_at - make_interval(hours => %(h)s, mins => %(m)s),"
            " due_at = due_at - make_interval(hours => %(h)s, mins => %(m)s)",
            h=hours, m=minutes,
        )  # fmt: skip

    def row(self):
        (row,) = self.all("SELECT *, extract(epoch FROM due_at - now())::float AS due_in_s FROM operator_alerts")
        return row


def short(received):
    event = received.event
    return event["type"].removeprefix("operator_alert."), event["data"]["kind"], event["data"]["count"]


@pytest.fixture
def operators(world, receiver, tls):
    return Operators(world, receiver, tls)


def test_quiet_system_tells_nothing(operators, world):
    world.order()
    world.endpoint()
    assert operators.look() == []
    assert operators.all("SELECT * FROM operator_alerts") == []


def test_condition_is_told_once(operators, receiver):
    operators.needs_attention()
    operators.needs_attention()
    assert operators.look() == [("began", "attention", 2)]
    assert [operators.look() for _ in range(3)] == [[], [], []]
    (told,) = receiver.heard
    assert told.path == "/alerts/"
    assert told.event["data"] == {
        "kind": "attention",
        "subject": None,
        "count": 2,
        "since": told.event["data"]["since"],
        "text": told.event["data"]["text"],
        "command": "holdfast ops attention",
        "console_url": None,
        "runbook": "docs/runbook.md#needs-attention",
    }
    assert b"ada@shop.example" not in told.body


def test_growth_is_told_after_an_hour(operators):
    operators.needs_attention()
    operators.look()
    operators.needs_attention()
    assert operators.look() == []
    operators.let_pass(minutes=59)
    assert operators.look() == []
    operators.let_pass(minutes=1)
    assert operators.look() == [("grew", "attention", 2)]
    operators.let_pass(hours=1)
    assert operators.look() == []


def test_growth_counts_from_the_smallest_number_since(operators):
    first = operators.needs_attention()
    operators.needs_attention()
    operators.look()
    operators.dealt_with(first)
    operators.let_pass(hours=1)
    assert operators.look() == []
    operators.needs_attention()
    assert operators.look() == [("grew", "attention", 2)]


def test_end_is_told_and_a_new_beginning(operators, receiver):
    id_ = operators.needs_attention()
    operators.look()
    operators.dealt_with(id_)
    assert operators.look() == []  # it may come back at once
    operators.let_pass(minutes=2)
    assert operators.look() == [("ended", "attention", 1)]
    assert operators.look() == []
    operators.needs_attention()
    assert operators.look() == [("began", "attention", 1)]
    assert len({told.id for told in receiver.heard}) == 3


def test_condition_that_comes_and_goes_is_told_once(operators):
    id_ = operators.needs_attention()
    operators.look()
    for _ in range(3):
        operators.dealt_with(id_)
        assert operators.look() == []
        operators.all(MARK, id=id_)
        assert operators.look() == []


# Conditions


def test_orders_that_nobody_takes_are_told(operators, world):
    late, aside, _ = world.order(), world.order(), world.order()
    operators.all(
        "UPDATE order_ledger SET due_at = now() - interval '6 minutes' WHERE id = ANY (%(ids)s::uuid[])",
        ids=[late, aside],
    )
    operators.all(
        "INSERT INTO set_aside_entries (order_ledger_id, reason, retry_at, since)"
        " VALUES (%(id)s, 'why', now() + interval '1 minute', now())",
        id=aside,
    )
    assert ("began", "stuck", 1) in operators.look()


def test_order_that_is_due_for_a_shorter_time_is_not_stuck(operators, world):
    operators.all("UPDATE order_ledger SET due_at = now() - interval '4 minutes' WHERE id = %(id)s", id=world.order())
    assert operators.look() == []


def test_endpoint_that_we_disabled_is_told_and_not_one_that_its_owner_did(operators, world):
    for reason in (GONE, "disabled by its owner"):
        world.set_endpoint(world.endpoint(), f"status = 'disabled', disabled_at = now(), disabled_reason = '{reason}'")
    assert operators.look() == [("began", "endpoints", 1)]


@pytest.fixture
def other_tables(operators):
    """`other_tables(statements)`: make tables of other parts of the program, for one test."""
    missing = [
        source.table for source in SOURCES
        if source.table and not operators.all("SELECT to_regclass(%(n)s) IS NOT NULL AS x", n=source.table)[0]["x"]
    ]  # fmt: skip
    yield operators.all
    for table in missing:
        operators.all(f"DROP TABLE IF EXISTS {table}")


def test_process_that_died_is_told_until_another_has_taken_its_place(operators, other_tables):
    other_tables(HEARTBEATS)
    operators.all(BEAT, name="a", started="-1 day", seen="-5 minutes")
    assert operators.look() == [("began", "silent", 1)]
    operators.all(BEAT, name="b", started="0", seen="0")
    operators.look()
    operators.let_pass(minutes=2)
    assert operators.look() == [("ended", "silent", 1)]


def test_violations_of_the_last_audit_are_told(operators, other_tables):
    other_tables(AUDIT_RUNS)
    operators.all(AUDITED, at="-1 day", found=0)
    operators.all(AUDITED, at="-1 hour", found=7)
    assert operators.look() == [("began", "audit", 7)]
    operators.all(AUDITED, at="0", found=0)
    operators.let_pass(minutes=2)
    assert operators.look() == [("ended", "audit", 7)]


def test_kind_that_cannot_be_read_hides_no_other_and_does_not_end(operators, monkeypatch, caplog):
    operators.needs_attention()
    operators.look()
    broken = [Source("attention", "SELECT 1 / 0"), *(each for each in SOURCES if each.kind != "attention")]
    monkeypatch.setattr(alert_store, "SOURCES", broken)
    operators.let_pass(minutes=5)
    operators.all("UPDATE order_ledger SET due_at = now() - interval '6 minutes'")
    assert operators.look() == [("began", "stuck", 1)]
    assert "division by zero" in caplog.text


# The receiver


def test_signature_is_verified_by_the_library(operators, receiver):
    operators.needs_attention()
    operators.look()
    (told,) = receiver.heard
    assert Webhook(SECRET).verify(told.body, dict(told.headers.items()))["type"] == "operator_alert.began"


def test_without_a_secret_nothing_is_signed(world, receiver, tls):
    operators = Operators(world, receiver, tls, secret="")
    operators.needs_attention()
    operators.look()
    (told,) = receiver.heard
    assert "webhook-signature" not in told.headers
    assert told.id.startswith("alert_")


def test_receiver_that_is_down_is_retried_with_growing_pauses_and_the_same_message(operators, receiver, caplog):
    caplog.set_level(logging.WARNING)
    receiver.answer = lambda _: 503
    operators.needs_attention()
    pauses = []
    for _ in range(7):
        operators.alerts.run_once()
        pauses.append(round(operators.row()["due_in_s"] / 10) * 10)
        operators.alerts.run_once()  # not due
        operators.all("UPDATE operator_alerts SET due_at = now()")
    assert pauses == [30, 60, 120, 240, 480, 900, 900]
    assert "it answered 503" in caplog.text
    assert receiver.url not in caplog.text
    operators.needs_attention()
    receiver.answer = lambda _: 204
    assert operators.look() == [("began", "attention", 1)]
    assert len(receiver.heard) == 8
    assert len({(told.id, told.body) for told in receiver.heard}) == 1
    operators.let_pass(hours=1)
    assert operators.look() == [("grew", "attention", 2)]


def test_what_ends_while_the_receiver_is_down_is_told_from_its_beginning(operators, receiver):
    receiver.answer = lambda _: None
    id_ = operators.needs_attention()
    operators.look()
    operators.dealt_with(id_)
    operators.let_pass(hours=1)
    receiver.answer = lambda _: 204
    assert operators.look() == [("began", "attention", 1)]
    assert operators.look() == [("ended", "attention", 1)]


def test_crash_between_send_and_note_sends_the_same_message_again(operators, world, receiver, tls, monkeypatch):
    def crash(_):
        raise SystemExit

    operators.needs_attention()
    monkeypatch.setattr(operators.store, "save_told", crash)
    with pytest.raises(SystemExit):
        operators.alerts.run_once()
    successor = Operators(world, receiver, tls)
    assert successor.look() == []  # left to the lease
    successor.all("UPDATE operator_alerts SET due_at = due_at - interval '1 minute'")
    assert successor.look() == [("began", "attention", 1)]
    first, second = receiver.heard
    assert (first.id, first.body) == (second.id, second.body)
    assert successor.look() == []


def test_claim_that_was_lost_changes_nothing(operators):
    operators.needs_attention()
    operators.store.look()
    late = operators.store.claim()
    operators.let_pass(minutes=1)
    current = operators.store.claim()
    operators.store.save_told(late)
    operators.store.save_failed(late)
    assert operators.row()["message_id"] == current.id
    assert operators.row()["due_in_s"] > 50
    operators.store.save_told(current)
    assert operators.row()["message_id"] is None


def test_two_processes_tell_once(world, receiver, tls):
    both = [Operators(world, receiver, tls) for _ in range(2)]
    for number in range(10):
        id_ = both[0].needs_attention()
        at_once([each.alerts.run_once for each in both])
        both[0].dealt_with(id_)
        both[0].let_pass(minutes=2)
        at_once([each.alerts.run_once for each in both])
        assert len(receiver.heard) == len({told.id for told in receiver.heard}) == 2 * (number + 1)


def test_no_transaction_is_open_during_the_call(operators, receiver):
    open_ = "SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
    seen = []
    receiver.answer = lambda _: seen.append(operators.all(open_)) or 204
    operators.needs_attention()
    operators.look()
    assert seen == [[]]


def test_stopping_waits_for_the_message_in_hand_and_sends_no_other(operators, receiver, world):
    def answer(_):
        operators.stopping.set()
        receiver.go.wait(20)
        return 204

    receiver.answer = answer
    operators.needs_attention()
    operators.all("UPDATE order_ledger SET due_at = now() - interval '6 minutes'")
    looking = threading.Thread(target=operators.alerts.run)
    looking.start()
    eventually(lambda: receiver.heard)
    waiting = threading.Thread(target=operators.alerts.wait)
    waiting.start()
    receiver.go.set()
    waiting.join(20)
    looking.join(20)
    assert len(receiver.heard) == 1
    pending = operators.all("SELECT kind FROM operator_alerts WHERE message_id IS NOT NULL")
    assert len(pending) == 1


def test_database_that_is_away_is_asked_again_later(operators, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)  # whatever level another test has left

    def away():
        raise TransientDatabaseError("away")

    operators.needs_attention()
    with monkeypatch.context() as patch:
        patch.setattr(operators.store, "look", away)
        assert operators.look() == []
    assert "will retry: away" in caplog.text
    assert operators.look() == [("began", "attention", 1)]


def test_what_goes_wrong_here_does_not_end_the_process(operators, monkeypatch, caplog):
    def fails():
        raise KeyError("kind")

    monkeypatch.setattr(operators.store, "look", fails)
    assert operators.alerts.run_once() == 0
    assert "cannot tell operators, will retry: KeyError" in caplog.text


# The text


def test_slack_gets_a_text(world, receiver, tls):
    operators = Operators(world, receiver, tls, form="slack")
    id_ = operators.needs_attention()
    operators.alerts.run_once()
    operators.dealt_with(id_)
    operators.let_pass(minutes=2)
    operators.alerts.run_once()
    began, ended = (json.loads(told.body) for told in receiver.heard)
    assert began.keys() == ended.keys() == {"text"}
    headline, look = began["text"].split("\n")
    assert headline.startswith("ALERT: 1 order or refund needs a person, since ")
    assert headline.endswith(" UTC.")
    assert look == "Run: holdfast ops attention – what to do: docs/runbook.md#needs-attention"
    assert ended["text"].startswith("OVER: ")


def test_link_to_the_console_replaces_the_command(world, receiver, tls):
    operators = Operators(world, receiver, tls, console=CONSOLE)
    operators.needs_attention()
    operators.look()
    data = receiver.heard[0].event["data"]
    assert data["console_url"] == f"{CONSOLE}/attention"
    assert f"Open {CONSOLE}/attention" in data["text"]


def test_every_kind_has_words():
    assert alert_text.WORDS.keys() == {source.kind for source in SOURCES}


@pytest.mark.parametrize(("count", "says"), [(1, "1 process of"), (2, "2 processes of"), (10_000, "10,000 or more p")])
def test_number_and_noun_agree(operators, count, says):
    operators.needs_attention()
    operators.store.look()
    message = replace(operators.store.claim(), kind="silent", subject="webhooks", count=count)
    assert says in alert_text.text(message, "")
