"""The record of operators, newest first, with its filters. It keeps the rows of other tests: nothing can be deleted."""

from __future__ import annotations

import json
import uuid

import pytest

from console.record import page_of_record
from edge_api.cursor import Position
from tests.console.desk import Desk, text_of
from tests.database.valid_rows import NOW

ORDER = "01a22cc0-12be-7154-8189-b8e2e064d051"


@pytest.fixture
def who():
    """An operator whom no other test knows."""
    return f"linus-{uuid.uuid4()}"


@pytest.fixture
def add_row(sql):
    """`add_row("attention.retry", actor="grace")`: one more row."""

    def add(action, actor="grace", **details):
        sql(
            "INSERT INTO operator_log (actor, action, details) VALUES (%(actor)s, %(action)s, %(details)s)",
            actor=actor,
            action=action,
            details=json.dumps(details),
        )

    return add


@pytest.fixture
def record(console_app, key):
    headers = {"Authorization": f"Bearer {key()}"}
    client = console_app.test_client()
    return lambda **query: client.get("/api/record", query_string=query, headers=headers).json


def actions(answer):
    return [row["action"] for row in answer["rows"]]


def test_newest_comes_first_with_who_and_what(record, add_row):
    add_row("attention.retry", order_ledger_id=ORDER)
    add_row("start", actor="orchestrator@host", release="1.2.3")
    rows = record()["rows"]
    assert [row["action"] for row in rows[:2]] == ["start", "attention.retry"]
    assert rows[0]["actor"] == "orchestrator@host"
    assert rows[1]["details"] == {"order_ledger_id": ORDER}


@pytest.mark.parametrize("names", [["actor"], ["action"], ["order_ledger_id"], ["actor", "action", "order_ledger_id"]])
def test_filter_leaves_out_the_others(record, add_row, who, names):
    wanted = {"actor": who, "action": f"test.{who[:40]}", "order_ledger_id": str(uuid.uuid4())}
    add_row(wanted["action"], actor=who, order_ledger_id=wanted["order_ledger_id"])
    add_row("attention.retry", order_ledger_id=str(uuid.uuid4()))
    add_row("keys.create")
    assert actions(record(**{name: wanted[name] for name in names})) == [wanted["action"]]


def test_pages_show_each_row_once(record, add_row, who):
    for number in range(5):
        add_row("a.test", actor=who, number=number)
    first = record(actor=who, limit=3)
    second = record(actor=who, limit=3, cursor=first["next_cursor"])
    assert [row["details"]["number"] for row in first["rows"] + second["rows"]] == [4, 3, 2, 1, 0]
    assert second["next_cursor"] is None


def test_rows_of_the_same_time_are_not_lost_between_pages(record, sql, who):
    sql(
        "INSERT INTO operator_log (at, actor, action) SELECT %(now)s, %(who)s, 'a.test' FROM generate_series(1, 5)",
        now=NOW,
        who=who,
    )
    first = record(actor=who, limit=3)
    second = record(actor=who, limit=3, cursor=first["next_cursor"])
    assert len({row["id"] for row in first["rows"] + second["rows"]}) == 5


def test_page_shows_details_and_links_to_the_order(desk: Desk, add_row, who):
    add_row("order.cancel", who, order_ledger_id=ORDER, reason="duplicate", left_out=None, parts=["a", "b"], number=0)
    page = desk.get("/record", actor=who)
    assert f'href="/orders/{ORDER}"' in page.text
    assert "reason: duplicate" in text_of(page)
    assert "parts: a, b" in text_of(page)
    assert "number: 0" in text_of(page)
    assert "left out" not in text_of(page)


def test_page_escapes_what_the_record_says(desk: Desk, add_row):
    add_row("a.test", actor="<script>", note="<img src=x>", inner={"a": "<b>"})
    page = desk.get("/record", actor="<script>")
    assert "&lt;script&gt;" in page.text
    assert "<img" not in page.text
    assert "<b>" not in page.text.partition("<tbody>")[2]


def test_page_offers_every_action_as_a_filter(desk: Desk, add_row):
    add_row("a.test")
    add_row("b.test")
    page = desk.get("/record", action="b.test").text
    assert "<option>a.test</option>" in page
    assert "<option selected>b.test</option>" in page


def test_page_names_an_order_that_is_none(desk: Desk):
    assert "Not a valid UUID" in desk.get("/record", order_ledger_id="x").text


PLANNED = [{}, {"actor": "a7"}, {"action": "act7"}, {"order_ledger_id": ORDER}, {"actor": "a7", "action": "act7"}]
MOST_BUFFERS = 400  # a page of 51 rows; the table has about 3,000


@pytest.fixture(scope="module")
def long_record(new_migrated_database, connect):
    """100,000 rows. The last page is as far away as can be."""
    sql = connect(new_migrated_database())
    sql(
        "INSERT INTO operator_log (at, actor, action, details)"
        " SELECT now() - n * interval '1 s', 'a' || n %% 10, 'act' || n %% 7, '{}' FROM generate_series(1, 100000) n"
        " WHERE %(all)s",
        all=True,
    )
    sql("VACUUM (ANALYZE) operator_log")
    return sql


@pytest.mark.parametrize("filters", PLANNED, ids=str)
@pytest.mark.parametrize("is_last", [False, True])
def test_page_costs_the_same_wherever_it_is(long_record, filters, is_last):
    ((last, id_),) = long_record("SELECT at, id::text FROM operator_log ORDER BY at LIMIT 1 OFFSET 3")
    query = filters | ({"cursor": Position(last, id_)} if is_last else {})
    statement, parameters = page_of_record(query)
    ((plan,),) = long_record(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", **parameters | {"limit": 51})
    whole = plan[0]["Plan"]
    assert whole["Shared Hit Blocks"] + whole["Shared Read Blocks"] < MOST_BUFFERS
