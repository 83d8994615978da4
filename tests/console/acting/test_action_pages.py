"""The dialogs of an order's page: what they tell, and what their forms do."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from console.formats import cents_of, money
from tests.console.acting.conftest import new_app
from tests.console.desk import text_of
from tests.other_session import other_session

WHY = {"reason": "the gateway is back"}


def dialogs(page):
    return {part.split('"')[0] for part in page.split('<dialog id="')[1:]} - {"help"}


def test_dialogs_name_the_effect_in_money(ada, waiting, completed):
    page = ada.page(f"/orders/{waiting}")
    assert dialogs(page) == {"retry", "cancel", "note", "dealt-with"}
    assert "Tries “create order” now. If the order goes on, 25.00 USD is charged once." in page
    assert "Releases the hold of 25.00 USD; nothing is charged." in page
    page = ada.page(f"/orders/{completed}")
    assert dialogs(page) == {"refund", "note"}
    assert "All that is left: 25.00 USD" in page
    assert "An amount in USD, at most 25.00<" in page
    assert " checked" not in page, "whoever types an amount must choose it"


def test_viewer_sees_no_buttons(person, url, waiting):
    for shown in (person("viewer"), person("admin", new_app(url, CONSOLE_READ_ONLY="on"))):
        page = shown.page(f"/orders/{waiting}")
        assert dialogs(page) == set()
        assert "data-opens" not in page
        assert "/jobs/new" not in shown.page("/orders")


def test_forms_keep_their_key_when_the_page_refreshes_itself(ada, waiting):
    def keys(page):
        return {part.split('"')[0] for part in page.split('name="key" value="')[1:]}

    (key,) = keys(ada.page(f"/orders/{waiting}"))
    assert keys(ada.page(f"/orders/{waiting}/live?key={key}")) == {key}
    assert "%3Cscript" not in ada.page(f"/orders/{waiting}/live?key=<script>")


@pytest.mark.parametrize(
    ("path", "form", "told"),
    [
        ("retry", WHY, "The order was made due."),
        ("cancel", {"reason": "duplicate", "note": ""}, "The cancellation was asked for."),
        ("notes", {"text": "two\r\nlines"}, "The note is in the timeline."),
        ("dealt-with", WHY, "The order was marked as dealt with."),
    ],
)
def test_form_acts_once_and_tells_it_on_the_page(ada, waiting, record, path, form, told):
    for _ in range(2):
        answer = ada.send(f"/orders/{waiting}/{path}", **form, key="k" * 16)
        assert (answer.status_code, answer.location) == (303, f"/orders/{waiting}")
    assert told in (page := ada.page(answer.location))
    assert "This form was sent before, and nothing was changed a second time." in page
    assert len(record()) == 1


def test_form_without_a_key_is_refused(ada, waiting, record):
    assert ada.send(f"/orders/{waiting}/retry", **WHY, key="").status_code == 400
    assert record() == []


def test_refund_by_lines_with_restock(ada, world):
    product = world.product(stock=10)
    order = world.order(product).json["order_ledger_id"]
    world.work()
    form = {"what": "items", f"pieces:{product}": "1", "restock": "on", "reason": "other", "amount": ""}
    effect = ada.browser.get(f"/orders/{order}/refund-effect", query_string=form).text
    assert "Refunds 12.50 USD to the customer; 12.50 USD is left. Puts 1 piece back into stock." in effect
    answer = ada.send(f"/orders/{order}/refunds", **form)
    assert answer.status_code == 303, answer.text
    assert "A refund of 12.50 USD was asked for." in ada.page(answer.location)
    world.work()
    assert world.stock(product) == 9
    page = text_of(ada.browser.get(f"/orders/{order}"))
    assert re.search(r"order\.refund pieces: 1, reason: other, restock, refund id: [0-9a-f-]{36}, 12\.50 USD", page)
    assert re.search(r"refund of 12\.50 USD asked for .* refund of 12\.50 USD succeeded", page)
    assert "1 of 1 put back 1 put back yes" in page
    assert "stock 2 sold 2 sold yes" in page


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"what": "amount", "amount": "7.5"}, "Refunds 7.50 USD to the customer; 17.50 USD is left."),
        ({"what": "amount", "amount": "1,000"}, "Must be an amount such as 12.50."),
        ({"what": "amount", "amount": "25.01"}, "Only 25.00 USD is left to refund."),
        ({"what": "items", "pieces:x": "0"}, "Say how many pieces of which product."),
        ({"what": "whole", "amount": " ", "pieces:x": "0"}, "Refunds 25.00 USD to the customer; 0.00 USD is left."),
        ({}, "Choose what to refund."),
        ({"amount": "12.50"}, "Choose what to refund."),
        ({"what": "all"}, "Choose what to refund."),
    ],
)
def test_effect_of_a_refund_is_shown_before_it(ada, completed, form, said):
    assert said in ada.browser.get(f"/orders/{completed}/refund-effect", query_string=form).text


def test_refund_of_more_than_is_left_says_how_much_is(ada, world, completed):
    ((product,),) = world.sql("SELECT product_id::text FROM order_ledger_items")

    def refused(**form):
        effect = ada.browser.get(f"/orders/{completed}/refund-effect", query_string=form).text
        answer = ada.send(f"/orders/{completed}/refunds", reason="other", **form)
        assert answer.status_code == 409
        assert "details" not in answer.text
        (said,) = {effect.split(">")[1].split("<")[0], answer.text.split("<b>Not done.</b> ")[1].split("<")[0]}
        return said

    pieces = {"what": "items", f"pieces:{product}": "3"}
    assert refused(what="amount", amount="25.01") == "Only 25.00 USD is left to refund."
    assert refused(**pieces) == "Only 2 pieces of Widget are left to refund."
    ada.send(f"/orders/{completed}/refunds", reason="other", what="items", **{f"pieces:{product}": "1"})
    assert refused(**pieces) == "Only 1 piece of Widget is left to refund."
    ada.send(f"/orders/{completed}/refunds", reason="other", what="whole")
    assert refused(**pieces) == "No piece of Widget is left to refund."
    assert refused(what="whole") == "Nothing is left to refund."


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        ({"what": "whole", "amount": "12.50"}, "amount", "You chose all that is left, and an amount is typed, too: "),
        ({"what": "whole", "pieces:x": "1"}, "pieces", "You chose all that is left, and a number of pieces is typed"),
        ({"what": "amount", "amount": "1", "restock": "on"}, "restock", "You chose an amount, and “Put the pieces"),
        ({"what": "amount", "amount": "1", "pieces:x": "01"}, "pieces", "You chose an amount, and a number of pieces"),
        ({"what": "items", "pieces:x": "1", "amount": "12.50"}, "amount",
         "You chose pieces, and an amount is typed, too: empty the amount, or choose it."),
        ({"amount": "12.50"}, "what", "Choose what to refund."),
    ],
)  # fmt: skip
def test_field_of_another_choice_refunds_nothing(ada, world, completed, form, field, said):
    assert said in ada.browser.get(f"/orders/{completed}/refund-effect", query_string=form).text
    answer = ada.send(f"/orders/{completed}/refunds", reason="other", **form)
    assert answer.status_code == 400
    assert f"<b>{field}</b>: {said}" in answer.text
    assert "The request is not valid." not in answer.text
    assert world.sql("SELECT id FROM refunds") == []


def test_refusal_is_told_on_the_order_with_what_was_typed(ada, completed):
    answer = ada.send(f"/orders/{completed}/cancel", reason="other", note="<b>was called</b>", key="k" * 16)
    assert answer.status_code == 409
    assert "The order has ended and cannot be cancelled." in answer.text
    assert f'data-refused="/orders/{completed}/cancel"' in answer.text
    assert '<input type="hidden" name="note" value="&lt;b&gt;was called&lt;/b&gt;">' in answer.text
    assert dialogs(answer.text) == {"refund", "note"}
    assert "k" * 16 not in answer.text, "the same key would bring the same refusal again"


def test_page_is_live_while_work_is_open(ada, world, completed):
    def is_live():
        fragment = ada.browser.get(f"/orders/{completed}/live", query_string={"key": "k"})
        page = ada.page(f"/orders/{completed}")
        assert ("data-live" in page) == ("data-live" in fragment.text)
        return "data-live" in fragment.text

    assert is_live(), "its events are on the way"
    ended(world)
    assert not is_live()
    ada.post(f"/api/orders/{completed}/refunds", reason="other")
    assert is_live()
    world.work()
    ended(world)
    assert not is_live()


def test_page_is_live_until_its_events_are_delivered(ada, world, completed):
    ended(world)
    world.sql(
        "INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid)"
        " VALUES ('we_1', 'shop', 'https://shop.example/hook', '{*}', '3')"
    )
    world.sql(
        "INSERT INTO webhook_deliveries (endpoint_id, event_id, message_id, type, order_ledger_id, sequence, due_at)"
        " SELECT 'we_1', id, id, type, order_ledger_id, sequence, now() FROM events WHERE order_ledger_id = %(id)s",
        id=completed,
    )
    page = ada.page(f"/orders/{completed}")
    assert "data-live" in page
    assert '<a href="/webhooks/we_1">https://shop.example/hook</a>: pending' in page
    world.sql("UPDATE webhook_deliveries SET status = 'succeeded', due_at = NULL, ended_at = now()")
    assert "data-live" not in ada.page(f"/orders/{completed}")


def ended(world):
    for table in ("order_ledger", "refunds"):
        world.sql(f"UPDATE {table} SET updated_at = now() - interval '1 minute'")


def test_part_that_has_not_changed_is_not_sent_again(ada, waiting):
    path = f"/orders/{waiting}/live?key=k"
    first = ada.browser.get(path)
    again = ada.browser.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.text) == (200, 304, "")
    ada.send(f"/orders/{waiting}/notes", text="seen")
    assert ada.browser.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_countdown_is_by_the_clock_of_the_database(ada, world, waiting):
    ((due_at,),) = world.sql("SELECT due_at FROM order_ledger WHERE id = %(id)s", id=waiting)
    page = ada.page(f"/orders/{waiting}")
    assert f'data-countdown="{due_at.astimezone(UTC).isoformat()}"' in page
    assert "no orchestrator has taken it" in page
    ((before, after),) = world.sql("SELECT now() - interval '1 minute', now()")
    assert before < datetime.fromisoformat(page.split('data-now="')[1].split('"')[0]) <= after


def test_next_try_of_a_refund_is_shown(ada, world, completed):
    ada.post(f"/api/orders/{completed}/refunds", reason="other")
    world.sql("UPDATE refunds SET due_at = now() + interval '1 h', next_retry_at = due_at, retry_count = 1")
    assert ", after 1 failed try</td>" in ada.page(f"/orders/{completed}")
    world.sql("UPDATE refunds SET claimed_by = 'o', claimed_until = now() + interval '1 min', claim_number = 1")
    page = ada.page(f"/orders/{completed}")
    assert "in flight, after 1 failed try</td>" in page
    assert 'data-opens="retry-' not in page


def test_timeline_has_the_first_and_the_newest_attempts(ada, world, waiting):
    refund = "11111111-2222-4333-8444-555555555555"
    world.sql(
        "INSERT INTO attempts (id, order_ledger_id, refund_id, step, attempt, began_at, took_ms, kind, message,"
        " request_id) SELECT gen_random_uuid(), %(id)s, %(refund)s, 'create_order', n,"
        " now() + n * interval '1 s', 5, 'unanswered', 'no answer ' || n, 'req-' || n FROM generate_series(1, 103) n",
        id=waiting,
        refund=refund,
    )
    page = ada.page(f"/orders/{waiting}")
    places = [page.find(text) for text in ("no answer 20<", "3 more attempts", "no answer 24<")]
    assert -1 not in places
    assert places == sorted(places)
    assert "no answer 21<" not in page
    assert page.count(f'refund <span class="id" title="{refund}">…55555555</span>: <b>create order</b>') == 100
    assert "request <code>req-103</code>" in page
    told = ada.get(f"/api/orders/{waiting}").json
    assert (len(told["attempts"]), told["attempts_left_out"]) == (100, 3)


def test_trace_is_shown(ada, world, waiting):
    world.sql("UPDATE order_ledger SET trace_parent = %(value)s", value=f"00-{'a1' * 16}-{'b2' * 8}-01")
    assert "a1" * 16 in ada.page(f"/orders/{waiting}")
    assert ada.get(f"/api/orders/{waiting}").json["trace_id"] == "a1" * 16


def test_refund_that_needs_attention_has_actions(ada, world, completed):
    refund = ada.post(f"/api/orders/{completed}/refunds", reason="other").json["refund_id"]
    world.sql("UPDATE refunds SET needs_attention_at = now(), attention_reason = 'no answer'")
    page = ada.page(f"/orders/{completed}")
    assert dialogs(page) == {"note", f"retry-{refund}", f"dealt-{refund}"}
    assert "Asks the gateway again to refund 25.00 USD, once." in page
    for path in ("retry", "dealt-with"):
        answer = ada.send(f"/refunds/{refund}/{path}", **WHY)
        assert (answer.status_code, answer.location) == (303, f"/orders/{completed}")
    assert f'"dealt-{refund}"' not in ada.page(f"/orders/{completed}")


def test_text_of_a_note_and_a_reason_is_escaped(ada, waiting):
    evil = "<script>alert(1)</script>"
    ada.send(f"/orders/{waiting}/notes", text=evil)
    ada.send(f"/orders/{waiting}/dealt-with", reason=evil)
    assert evil not in ada.page(f"/orders/{waiting}")


@pytest.mark.parametrize(
    ("text", "currency", "cents"),
    [("12.50", "USD", 1250), ("12.5", "USD", 1250), ("12", "USD", 1200), ("12.", "USD", None), (".5", "USD", None),
     ("12.505", "USD", None), ("12", "JPY", 12), ("12.0", "JPY", None), ("1.234", "KWD", 1234), ("-1", "USD", None),
     ("1e3", "USD", None), ("٣", "USD", None), ("", "USD", None)],
)  # fmt: skip
def test_amounts_are_read_as_they_are_written(text, currency, cents):
    if cents is None:
        with pytest.raises(ValueError, match="an amount such as"):
            cents_of(text, currency)
    else:
        assert cents_of(text, currency) == cents
        assert cents_of(money(cents, currency).partition(" ")[0], currency) == cents


def test_refused_form_is_the_page_of_the_order_with_what_was_written(ada, world, waiting, record):
    """As when an orchestrator has claimed it meanwhile."""
    world.sql("UPDATE order_ledger SET claimed_by = 'o-1', claimed_until = now() + interval '1 h'")
    answer = ada.send(f"/orders/{waiting}/retry", reason="the gateway's back", key="k" * 16)
    assert answer.status_code == 409
    assert "Not done." in answer.text
    assert "is claimed by o-1" in answer.text
    assert f'<h1>Order <code class="id">{waiting}</code></h1>' in answer.text
    assert 'value="the gateway&#39;s back"' in answer.text
    assert "k" * 16 not in answer.text  # a refusal is kept with its key: the next try needs another one
    assert record() == []


def test_form_that_is_not_valid_names_the_field_on_the_page(ada, waiting):
    answer = ada.send(f"/orders/{waiting}/dealt-with", reason="")
    assert answer.status_code == 400
    assert "<b>reason</b>: Missing data for required field." in answer.text
    assert "The request is not valid." not in answer.text
    assert 'data-opens="dealt-with"' in answer.text


def test_problem_deep_in_a_field_is_told(ada, world, completed):
    ((product,),) = world.sql("SELECT product_id::text FROM order_ledger_items")
    answer = ada.send(
        f"/orders/{completed}/refunds", reason="other", what="items", **{f"pieces:{product}": "999999999"}
    )
    assert answer.status_code == 400
    assert "<b>items</b>: Must be greater than or equal to 1 and less than or equal to " in answer.text


def test_address_that_is_not_valid_names_the_field(ada):
    answer = ada.browser.get("/jobs/new?action=retry&status=LOST")
    assert answer.status_code == 400
    assert "<b>status</b>: Must be of " in answer.text
    assert "The request is not valid." not in answer.text


def test_form_without_an_answer_can_be_sent_again_with_its_key(ada, url, waiting, record):
    form = {"reason": "why", "key": "k" * 16}
    with other_session(url) as cursor:
        cursor.execute("SELECT FROM order_ledger FOR UPDATE")
        answer = ada.send(f"/orders/{waiting}/retry", **form)
    assert answer.status_code == 503
    assert "Send again" in answer.text
    assert f'action="/orders/{waiting}/retry"' in answer.text
    assert all(f'name="{name}" value="{value}"' in answer.text for name, value in form.items())
    for _ in range(2):
        assert ada.send(f"/orders/{waiting}/retry", **form).status_code == 303
    assert len(record()) == 1
