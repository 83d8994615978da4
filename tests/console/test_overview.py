"""The overview: what is in flight and held, how fast it is, and who lives. Five open tabs cost as much as one."""

from __future__ import annotations

import json
import threading

import pytest

from common.ledger import durations
from tests.console.desk import Desk, text_of
from tests.waiting import eventually

NOWHERE = {f"{name}_SERVICE_URL": "http://127.0.0.1:1" for name in ("ORDERS", "INVENTORY", "PAYMENTS")}
STILL = {"status": "AUTHORIZED", "payment_authorization_id": "auth_1"}


@pytest.fixture
def fresh_desk(console_with, key):
    """A browser at a console that has computed nothing yet."""
    return lambda: Desk(console_with(**NOWHERE), key())


@pytest.fixture
def status(console_with, key):
    """`status()`: the API's answer, computed again."""

    def ask():
        headers = {"Authorization": f"Bearer {key()}"}
        answer = console_with(**NOWHERE).test_client().get("/api/status", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    return ask


@pytest.fixture
def add_in(add_order, sql):
    """`add_in("AUTHORIZED", …)`: an open order in this state, whatever led there."""

    def add(status, payment="auth_1", **columns):
        sql("ALTER TABLE order_ledger DISABLE TRIGGER USER")
        try:
            return add_order(status=status, payment_authorization_id=payment, **columns)
        finally:
            sql("ALTER TABLE order_ledger ENABLE TRIGGER USER")

    return add


@pytest.fixture
def add_minute(sql):
    """`add_minute(ago=3, completed=4)`: what happened three minutes ago; each took 0.4 s."""

    def add(ago, took_s=0.4, **counts):
        took = [0] * durations.CLASSES
        took[durations.class_of(took_s)] = counts.get("completed", 0)
        names = ", ".join(counts)
        sql(
            f"INSERT INTO order_minutes (minute, durations, {names}) VALUES"
            f" (date_trunc('minute', now()) - %(ago)s * interval '1 minute', %(took)s,"
            f" {', '.join(f'%({name})s' for name in counts)})",
            ago=ago,
            took=took,
            **counts,
        )

    return add


@pytest.fixture
def add_process(sql):
    """`add_process("orchestrator", ago="1 second", …)`: a process that was seen then."""

    def add(process, ago="1 second", loops=None, **columns):
        row = {"instance": process, "process": process, "host": "host", "pid": 7, "version": "1.2.3",
               "pools": json.dumps({"orders": {"in_flight": 2, "threads": 16}}), "open_breakers": [],
               "loops": json.dumps(loops or {}), "is_listening": True} | columns  # fmt: skip
        names = ", ".join(row)
        sql(
            f"INSERT INTO process_heartbeats (started_at, seen_at, {names}) VALUES (now() - interval '1 day',"
            f" now() - %(ago)s::interval, {', '.join(f'%({name})s' for name in row)})",
            ago=ago,
            **row,
        )

    return add


def test_orders_are_counted_by_state(status, add_in):
    add_in("AUTHORIZED")
    add_in("AUTHORIZED", next_retry_at="2030-01-01T00:00:00Z", retry_count=1)
    add_in("PAYMENT_CAPTURED")
    answer = status()
    counted = {row["status"]: (row["orders"], row["retrying"]) for row in answer["in_flight"]}
    assert counted == {
        "AWAITING_AUTHORIZATION": (0, 0),
        "AUTHORIZED": (2, 1),
        "ORDER_CREATED": (0, 0),
        "INVENTORY_RESERVED": (0, 0),
        "PAYMENT_CAPTURED": (1, 0),
        "COMPENSATING": (0, 0),
    }
    assert answer["retrying"] == 1


def test_held_money_is_summed_by_currency_and_age(status, add_in):
    add_in("AUTHORIZED", total_amount_cents=100)
    add_in("INVENTORY_RESERVED", total_amount_cents=200, created_at="2020-01-01T00:00:00Z")
    add_in("ORDER_CREATED", total_amount_cents=300, created_at="2020-01-01T00:00:00Z")
    add_in("AUTHORIZED", total_amount_cents=400, currency="EUR")
    add_in("PAYMENT_CAPTURED", total_amount_cents=500)  # not held any more
    nothing = {"holds": 0, "amount_cents": 0}
    euros, dollars = status()["held"]
    assert euros == {
        "currency": "EUR", "hour": {"holds": 1, "amount_cents": 400}, "day": nothing, "week": nothing, "older": nothing
    }  # fmt: skip
    assert dollars["hour"] == {"holds": 1, "amount_cents": 100}
    assert dollars["older"] == {"holds": 2, "amount_cents": 500}


@pytest.mark.parametrize(("age", "hours"), [("hour", 0.9), ("day", 1.1), ("day", 23.9), ("week", 24.1), ("week", 167.9),
                                            ("older", 168.1)])  # fmt: skip
def test_hold_is_in_the_class_of_its_age(status, add_in, sql, age, hours):
    id_ = add_in("AUTHORIZED")
    sql("UPDATE order_ledger SET created_at = now() - %(h)s * interval '1 hour' WHERE id = %(id)s", h=hours, id=id_)
    (held,) = status()["held"]
    assert held[age]["holds"] == 1


def test_figures_are_those_of_the_last_hour(status, add_minute):
    add_minute(ago=3, accepted=10, completed=6, failed=1)
    add_minute(ago=30, accepted=5, declined=2, cancelled=1, took_s=0.2)
    add_minute(ago=90, accepted=1000, failed=1000)
    figures = status()["orders"]
    assert figures["per_minute"] == 2  # 10 in the last five minutes
    assert figures["counts"]["accepted"] == 15
    assert figures["shares"] == {"completed": 0.6, "declined": 0.2, "failed": 0.1, "cancelled": 0.1}
    assert 0.3 < figures["p50_s"] <= figures["p95_s"] <= 0.5


def test_shares_and_times_are_unknown_without_orders(status):
    figures = status()["orders"]
    assert figures["shares"] == dict.fromkeys(("completed", "declined", "failed", "cancelled"))
    assert (figures["per_minute"], figures["p50_s"], figures["p95_s"]) == (0, None, None)


def test_attention_counts_without_what_was_dealt_with(status, add_in, sql):
    marked = {"needs_attention_at": "2026-01-01T00:00:00Z", "attention_reason": "why", "retry_count": 5}
    add_in("AUTHORIZED", **marked)
    dealt = add_in("AUTHORIZED", **marked | {"needs_attention_at": "2025-01-01T00:00:00Z"})
    sql("INSERT INTO dealt_with (subject_id, author, reason, retry_count) VALUES (%(id)s, 'ada', 'done', 5)", id=dealt)
    answer = status()
    assert (answer["needs_attention"], answer["dealt_with"]) == (1, 1)
    assert answer["needs_attention_since"].startswith("2026-01-01")


def test_oldest_due_is_shown_when_something_is_overdue(status, add_in):
    assert status()["oldest_due_at"] is None
    add_in("AUTHORIZED", due_at="2026-02-03T00:00:00Z")
    add_in("AUTHORIZED", due_at="2026-02-01T00:00:00Z")
    assert status()["oldest_due_at"].startswith("2026-02-01")


def test_processes_tell_whether_they_live(status, add_process):
    add_process("orchestrator", is_listening=False, open_breakers=["payments"])
    add_process("webhooks", ago="31 seconds", is_listening=None)
    alive, silent = status()["processes"]
    assert (alive["is_silent"], alive["is_listening"], alive["open_breakers"]) == (False, False, ["payments"])
    assert (silent["is_silent"], silent["is_listening"]) == (True, None)


def test_page_names_a_thread_that_makes_no_progress(fresh_desk, add_process):
    long_ago = {"dispatcher of orders": {"progressed_at": "2020-01-01T00:00:00Z", "every_s": 5}}
    add_process("orchestrator", loops=long_ago)
    page = text_of(fresh_desk().get("/"))
    assert "stuck" in page
    assert "no progress: dispatcher of orders" in page


@pytest.fixture
def card_of():
    """`card_of(desk)`: the first card of the overview, which says what is wrong."""
    return lambda desk, path="/": desk.get(path).text.split('aria-label="Problems"')[1].split("</section>")[0]


def test_first_card_says_that_a_service_is_silent(fresh_desk, card_of, add_process):
    add_process("orchestrator")
    desk = fresh_desk()
    eventually(lambda: "payments_service is silent: no connection" in card_of(desk, "/overview/live"))
    card = card_of(desk)
    assert '<a href="#services">orders_service is silent: no connection</a>' in card
    assert "All well" not in card
    page = desk.get("/").text
    assert page.index('aria-label="Problems"') < page.index('aria-label="Figures"') < page.index('id="services"')
    assert 'data-live="5"' in page


def test_services_are_asked_about_again_soon(console_with, key, card_of, add_process, monkeypatch):
    add_process("orchestrator")
    may_answer = threading.Event()
    monkeypatch.setattr("console.participants.health_at", lambda *_: may_answer.wait(30) and ("healthy", ""))
    desk = Desk(console_with(**NOWHERE), key())
    card, page = card_of(desk), desk.get("/").text
    assert "All well so far." in card
    assert "orders_service, inventory_service and payments_service are being asked" in card
    assert ('data-live="1"' in page, page.count(">being asked<")) == (True, 3)
    may_answer.set()
    eventually(lambda: "All well." in card_of(desk, "/overview/live"))
    assert 'data-live="5"' in desk.get("/overview/live").text


def test_problem_leads_to_where_more_is_said(fresh_desk, card_of, add_in, add_process, sql):
    add_process("webhooks", ago="31 seconds", is_listening=None)
    add_in("AUTHORIZED", total_amount_cents=200, created_at="2020-01-01T00:00:00Z", due_at="2026-02-01T00:00:00Z",
           needs_attention_at="2026-01-01T00:00:00Z", attention_reason="why")  # fmt: skip
    desk = fresh_desk()
    card = card_of(desk)
    for where, text in (
        ("#processes", "no orchestrator is alive: orders are accepted, and not processed"),
        ("#processes", 'webhooks host:7 is silent since <time datetime="'),
        ("#in-flight", 'nobody takes an order or a refund that is due since <time datetime="2026-02-01'),
        ("#held", "1 order that has not ended holds 2.00 USD for more than a week"),
        ("/attention", "1 needs attention"),
        ("/audit", "no audit has been recorded"),
    ):
        assert f'<a href="{where}">{text}' in card
        assert where[0] == "/" or f'<section id="{where[1:]}">' in desk.get("/").text


def test_answer_has_the_problems_of_the_page(status, add_process):
    add_process("webhooks", ago="31 seconds", is_listening=None)
    answer = status()
    nobody, silent = answer["problems"][:2]
    assert nobody["text"].startswith("no orchestrator is alive")
    assert (silent["about"], silent["text"]) == ("processes", "webhooks host:7 is silent")
    assert silent["since"] == answer["processes"][0]["seen_at"]
    assert "audit" in [each["about"] for each in answer["notices"]]


def test_process_that_has_just_started_need_not_listen_yet(status, add_process, sql):
    add_process("orchestrator", ago="0 seconds", is_listening=False)
    assert [each["text"] for each in status()["problems"] if each["about"] == "processes"] == [
        "orchestrator host:7 gets no notifications: orders wait for its next poll"
    ]
    sql("UPDATE process_heartbeats SET started_at = seen_at - interval '14 seconds'")
    assert [each for each in status()["problems"] if each["about"] == "processes"] == []


@pytest.mark.parametrize(("ago", "is_missed"), [(None, True), ("31 seconds", True), ("1 second", False)])
def test_page_says_when_no_orchestrator_is_alive(fresh_desk, add_process, ago, is_missed):
    add_process("webhooks", is_listening=None)
    if ago:
        add_process("orchestrator", ago=ago)
    assert ("No orchestrator is alive" in text_of(fresh_desk().get("/"))) == is_missed


def test_page_says_when_notifications_do_not_arrive(fresh_desk, add_process):
    add_process("orchestrator", is_listening=False, open_breakers=["payments"])
    page = text_of(fresh_desk().get("/"))
    assert "polling only" in page
    assert "orders: 2 of 16 busy payments" in page


def test_part_of_the_page_is_sent_only_when_it_has_changed(fresh_desk, add_process):
    add_process("orchestrator")
    desk = fresh_desk()

    def again():
        tag = desk.get("/overview/live").headers["ETag"]
        return desk.client.get("/overview/live", headers={"If-None-Match": tag})

    unchanged = eventually(lambda: (answer := again()).status_code == 304 and answer)  # once the services were asked
    assert unchanged.data == b""


def test_part_of_the_page_is_the_same_in_another_process_later(fresh_desk, add_process, sql):
    add_process("orchestrator")
    first = fresh_desk().get("/overview/live")
    sql("UPDATE process_heartbeats SET seen_at = now()")  # a beat alone changes nothing
    assert fresh_desk().get("/overview/live").headers["ETag"] == first.headers["ETag"]


def test_part_of_the_page_changes_with_the_orders(fresh_desk, add_order):
    first = fresh_desk().get("/overview/live")
    add_order()
    assert fresh_desk().get("/overview/live").headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize(("path", "slots", "slot_s"), [("/charts/hour", 60, 60), ("/charts/day", 96, 900)])
def test_chart_has_every_slot(fresh_desk, add_minute, path, slots, slot_s):
    add_minute(ago=3, accepted=4, completed=3)
    chart = fresh_desk().get(path)
    assert chart.mimetype == "application/json"
    columns = chart.json
    assert len(columns["at"]) == slots
    assert {after - before for before, after in zip(columns["at"], columns["at"][1:], strict=False)} == {slot_s}
    assert {len(values) for values in columns.values()} == {slots}
    assert sum(columns["accepted"]) == 4
    assert sum(columns["completed"]) == 3
    assert [value for value in columns["p95_s"] if value is not None] == [pytest.approx(0.49, abs=0.01)]


def test_chart_is_sent_only_when_it_has_changed(fresh_desk):
    desk = fresh_desk()
    tag = desk.get("/charts/day").headers["ETag"]
    assert desk.client.get("/charts/day", headers={"If-None-Match": tag}).status_code == 304


def test_part_of_the_page_is_refused_when_the_session_has_ended(fresh_desk):
    desk = fresh_desk()
    desk.post("/sign-out")
    asked = desk.client.get("/overview/live", headers={"HX-Request": "true"})
    assert asked.status_code == 401


def test_links_lead_below_the_path_of_the_console(console_with, key):
    desk = Desk(console_with(CONSOLE_PATH="/ops/holdfast", **NOWHERE), key(), path="/ops/holdfast")
    page = desk.get("/").text
    assert 'hx-get="/ops/holdfast/overview/live"' in page
    assert 'data-charts="/ops/holdfast/charts/hour"' in page
    assert 'src="/ops/holdfast/static/overview.js"' in page
