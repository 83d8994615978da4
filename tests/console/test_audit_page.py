"""The audits that ran: the last one with its rules, and a warning when it is old."""

from __future__ import annotations

import json

import pytest

from console.audits import RULES
from tests.console.desk import Desk, text_of


@pytest.fixture
def add_run(sql):
    """`add_run(stock=2, ago="2 hours")`: an audit that found this much, and nothing else."""

    def add(ago="1 minute", examples=(), **found):
        violations = dict.fromkeys(RULES, 0) | found
        sql(
            "INSERT INTO audit_runs (at, took_ms, healthy, violations, rows_found, examples)"
            " VALUES (now() - %(ago)s::interval, 1234, %(total)s = 0, %(violations)s, %(total)s, %(examples)s)",
            examples=json.dumps([dict(zip(("rule", "subject", "text"), each, strict=True)) for each in examples]),
            ago=ago,
            total=sum(violations.values()),
            violations=json.dumps(violations),
        )

    return add


def test_rules_are_those_of_the_audit(sql):
    assert list(RULES) == [
        row["check_name"] for row in sql("SELECT check_name FROM audit_checks ORDER BY check_number")
    ]


def test_page_says_how_to_run_the_first_one(desk: Desk):
    page = text_of(desk.get("/audit"))
    assert "No audit has been recorded." in page
    assert "python -m ops audit" in page


def test_page_shows_each_rule_with_its_violations(desk: Desk, add_run):
    add_run(stock=2, money=1)
    page = text_of(desk.get("/audit"))
    assert "not healthy" in page
    assert "3 violations" in page
    assert f"stock {RULES['stock']} 2" in page
    assert f"money {RULES['money']} 1" in page
    assert f"keys {RULES['keys']} 0" in page


def test_last_audit_counts(desk: Desk, add_run):
    add_run(ago="10 minutes", stock=2)
    add_run(ago="5 minutes")
    page = text_of(desk.get("/audit"))
    assert "healthy The last audit ran" in page
    assert "not healthy The last audit" not in page


@pytest.mark.parametrize(("ago", "is_old"), [("59 minutes", False), ("61 minutes", True)])
def test_old_audit_is_called_old(desk: Desk, add_run, ago, is_old):
    add_run(ago=ago)
    assert ("more than an hour ago" in text_of(desk.get("/audit"))) == is_old


def test_api_shows_the_last_runs(console_app, key, add_run):
    client, headers = console_app.test_client(), {"Authorization": f"Bearer {key()}"}
    assert client.get("/api/audit", headers=headers).json == {"last": None, "rules": [], "examples": [], "runs": []}
    add_run(ago="3 hours", stock=2)
    add_run(ago="2 hours", retired_rule=1)
    answer = client.get("/api/audit", headers=headers).json
    assert answer["last"]["is_old"] is True
    assert [run["rows_found"] for run in answer["runs"]] == [1, 2]
    assert answer["rules"][-1] == {"name": "retired_rule", "found": 1, "means": "A rule of another release."}


def test_page_names_what_the_last_audit_found(desk: Desk, add_run, add_order):
    order = add_order()
    add_run(ago="10 minutes", examples=[("keys", "client till, key k", "2 ledger entries")], keys=1)
    add_run(
        examples=[("money", "currency USD", "captured <less>"), ("completed", f"order_ledger {order}", "no order")],
        money=1,
        completed=1,
    )
    page = desk.get("/audit")
    assert f'<a class="id" href="/search?q={order}">order_ledger {order}</a>' in page.text
    assert desk.get("/search", q=order).headers["Location"] == f"/orders/{order}"
    shown = text_of(page)
    assert "money currency USD captured &lt;less&gt;" in shown
    assert "2 ledger entries" not in shown
    assert "of them are listed below" not in shown


def test_page_says_that_there_are_more(desk: Desk, add_run):
    add_run(examples=[("stock", "product 1", "no")], stock=300)
    assert "300 violations. 1 of them are listed below." in text_of(desk.get("/audit"))


def test_api_names_what_the_last_audit_found(console_app, key, add_run):
    add_run(examples=[("refunds", "refund 0189", "FAILED"), ("money", "currency USD", "no")], refunds=1, money=1)
    client, headers = console_app.test_client(), {"Authorization": f"Bearer {key()}"}
    assert client.get("/api/audit", headers=headers).json["examples"] == [
        {"rule": "refunds", "subject": "refund 0189", "id": "0189", "text": "FAILED"},
        {"rule": "money", "subject": "currency USD", "id": None, "text": "no"},
    ]
