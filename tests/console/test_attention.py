"""What needs a person: the oldest first, without what somebody has dealt with."""

from __future__ import annotations

import pytest

from tests.console.desk import Desk, text_of
from tests.database.valid_rows import NOW, VALID

SINCE = "2026-01-0{day}T00:00:00Z"


@pytest.fixture
def add_marked(add_order):
    """`add_marked(3, …)` → an order that needs attention since the third of January."""
    return lambda day, **columns: add_order(
        **{"needs_attention_at": SINCE.format(day=day), "attention_reason": "void_payment is unanswered"} | columns
    )


@pytest.fixture
def attention(console_app, key):
    """`attention(all="true")` → the answer of the API."""
    headers = {"Authorization": f"Bearer {key()}"}
    client = console_app.test_client()

    def ask(**query):
        answer = client.get("/api/attention", query_string=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    return ask


def ids(answer):
    return [entry["order_ledger_id"] for entry in answer["entries"]]


def deal_with(sql, id_, retry_count=5):
    sql(
        "INSERT INTO dealt_with (subject_id, author, reason, retry_count) VALUES (%(id)s, 'grace', 'Refunded', %(n)s)",
        id=id_,
        n=retry_count,
    )


def set_aside(sql, id_, since):
    sql(
        "INSERT INTO set_aside_entries (order_ledger_id, reason, since, retry_at)"
        " VALUES (%(id)s, 'the row cannot be written', %(since)s, now())",
        id=id_,
        since=since,
    )


def test_oldest_comes_first(attention, add_marked, add_order):
    add_order()
    newer, oldest = add_marked(5), add_marked(2)
    answer = attention()
    assert ids(answer) == [oldest, newer]
    assert (answer["open"], answer["dealt_with"], answer["next_cursor"]) == (2, 0, None)


def test_entry_tells_why_and_what_is_at_stake(attention, add_marked):
    add_marked(1, retry_count=5, client="till")
    (entry,) = attention()["entries"]
    assert entry["reason"] == "void_payment is unanswered"
    assert entry["retry_count"] == 5
    assert (entry["kind"], entry["refund_id"], entry["client"]) == ("order", None, "till")
    assert entry["amount_cents"] == VALID["order_ledger"]["total_amount_cents"]
    assert entry["since"].startswith("2026-01-01T00:00:00")
    assert entry["due_at"] is not None


def test_what_was_dealt_with_is_hidden_unless_it_is_asked_for(attention, add_marked, sql):
    dealt, other = add_marked(1, retry_count=5), add_marked(2)
    deal_with(sql, dealt, retry_count=5)
    hidden, everything = attention(), attention(all="true")
    assert ids(hidden) == [other]
    assert (hidden["open"], hidden["dealt_with"]) == (1, 1)
    assert ids(everything) == [dealt, other]
    assert everything["entries"][0]["dealt_with_by"] == "grace"
    assert everything["entries"][0]["dealt_with_reason"] == "Refunded"
    assert everything["entries"][1]["dealt_with_by"] is None


def test_entry_that_fails_again_is_back(attention, add_marked, sql):
    order = add_marked(1, retry_count=6)
    deal_with(sql, order, retry_count=5)
    answer = attention()
    assert ids(answer) == [order]
    assert (answer["open"], answer["dealt_with"]) == (1, 0)
    assert answer["entries"][0]["is_dealt_with"] is False


def test_set_aside_entry_is_listed_in_its_place(attention, add_marked, add_order, sql):
    before, after, aside = add_marked(1), add_marked(3), add_order(retry_count=5)
    set_aside(sql, aside, SINCE.format(day=2))
    deal_with(sql, aside, retry_count=5)  # nobody could see that it failed again, so that it stays
    answer = attention()
    assert ids(answer) == [before, aside, after]
    assert [entry["is_set_aside"] for entry in answer["entries"]] == [False, True, False]
    assert answer["entries"][1]["reason"] == "the row cannot be written"
    assert answer["open"] == 3


def test_marked_entry_that_is_set_aside_is_listed_once(attention, add_marked, sql):
    order = add_marked(1)
    set_aside(sql, order, SINCE.format(day=2))
    assert ids(attention()) == [order]


def test_refund_is_listed_with_its_own_amount(attention, add_order, sql):
    order = add_order(currency="EUR")
    sql("ALTER TABLE refunds DISABLE TRIGGER USER")
    try:
        sql(
            "INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id,"
            " needs_attention_at, attention_reason)"
            " VALUES (gen_random_uuid(), %(order)s, 'k', 250, false, 'other', 'r', %(now)s, 'refund_payment fails')",
            order=order,
            now=NOW,
        )
    finally:
        sql("ALTER TABLE refunds ENABLE TRIGGER USER")
    (entry,) = attention()["entries"]
    assert (entry["kind"], entry["order_ledger_id"]) == ("refund", order)
    assert entry["refund_id"] not in (None, order)
    assert (entry["amount_cents"], entry["currency"], entry["money"]) == (250, "EUR", "not given back")


def test_pages_show_each_entry_once(attention, add_marked):
    at_once = {add_marked(1), add_marked(1), add_marked(1)}
    last = add_marked(2)
    first = attention(limit=2)
    second = attention(limit=2, cursor=first["next_cursor"])
    assert len(first["entries"]) == 2
    assert set(ids(first) + ids(second)[:-1]) == at_once
    assert ids(second)[-1] == last
    assert second["next_cursor"] is None


def test_page_links_to_what_was_dealt_with(desk: Desk, add_marked, sql):
    hidden, shown = add_marked(1, retry_count=5), add_marked(2)
    deal_with(sql, hidden)
    page = desk.get("/attention")
    assert shown in page.text
    assert hidden not in page.text
    assert "Show what was dealt with" in page.text
    everything = desk.get("/attention", all="true")
    assert hidden in everything.text
    assert "Dealt with by grace" in text_of(everything)


def test_page_says_that_nothing_needs_attention(desk: Desk):
    assert "Nothing needs attention." in text_of(desk.get("/attention"))


def test_page_names_a_cursor_that_is_none(desk: Desk):
    page = desk.get("/attention", cursor="x")
    assert page.status_code == 200
    assert "Not a cursor of this list" in page.text


@pytest.mark.parametrize("name", ["endpoint", "_external", "_scheme", "_anchor"])
def test_filter_that_is_none_is_not_in_the_link_to_more(desk: Desk, add_marked, name):
    for _ in range(51):
        add_marked(3)
    page = desk.get(f"/attention?{name}=x")
    assert page.status_code == 200
    assert 'href="/attention?cursor=' in page.text
    assert f"{name}=x" not in page.text


def test_page_says_what_happens_without_a_person(desk):
    page = text_of(desk.get("/attention"))
    assert "One with a next try has not ended: it is tried again at least every five minutes" in page
    assert "cannot go on by themselves" not in page
