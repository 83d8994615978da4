"""What an operator does to one order: the effect, the record, and exactly once."""

from __future__ import annotations

import json
from contextlib import closing

import psycopg2
import pytest

from console.inventory import key_of
from tests.at_once import at_once
from tests.console.acting.conftest import new_app
from tests.waiting import eventually

WHY = {"reason": "the gateway is back"}
OTHER = {"reason": "other"}
ACTIONS = {"retry": WHY, "cancel": OTHER, "notes": {"text": "called"}, "dealt-with": WHY}
"""Those on an order that waits: path → body."""


def entry(world, order):
    columns = "status, due_at <= now() AS is_due, cancel_requested_at IS NOT NULL, needs_attention_at IS NOT NULL"
    ((*found,),) = world.sql(f"SELECT {columns} FROM order_ledger WHERE id = %(id)s", id=order)
    return dict(zip(("status", "is_due", "is_cancelled", "is_marked"), found, strict=True))


def refund_row(world, refund_id):
    columns = "status, due_at <= now(), needs_attention_at IS NOT NULL"
    return world.sql(f"SELECT {columns} FROM refunds WHERE id = %(id)s", id=refund_id)[0]


def make_wait(world, refund_id):
    world.sql(
        "UPDATE refunds SET due_at = now() + interval '1 h', next_retry_at = now() + interval '1 h', retry_count = 5,"
        " needs_attention_at = now(), attention_reason = 'no answer' WHERE id = %(id)s",
        id=refund_id,
    )


def test_retry_makes_the_order_due(ada, world, waiting, record):
    answer = ada.post(f"/api/orders/{waiting}/retry", **WHY)
    assert answer.status_code == 200, answer.text
    assert entry(world, waiting)["is_due"]
    assert record() == [("ada.operator", "order.retry", {"order_ledger_id": waiting, **WHY})]
    shown = [each for each in answer.json["timeline"] if each["kind"] == "action"]
    assert [(each["text"], each["detail"]) for each in shown] == [
        ("ada.operator: order.retry", "reason: the gateway is back")
    ]
    world.work()
    assert entry(world, waiting)["status"] == "COMPLETED"


def test_retry_wakes_the_orchestrators(ada, url, waiting):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("LISTEN order_events")
        ada.post(f"/api/orders/{waiting}/retry", **WHY)

        def has_been_notified():
            cursor.execute("SELECT 1")  # notifications arrive with the answer
            connection.poll()
            return connection.notifies

        eventually(has_been_notified)


def test_retry_during_a_lease_is_refused(ada, world, waiting, record):
    world.sql("UPDATE order_ledger SET claimed_by = 'w', claimed_until = now() + interval '1 m'")
    answer = ada.post(f"/api/orders/{waiting}/retry", **WHY)
    assert (answer.status_code, answer.json["error"]) == (409, "not_retryable")
    assert "is claimed by w until" in answer.json["message"]
    assert record() == []


def test_retry_of_an_order_that_has_ended_is_refused_and_its_key_stays_free(ada, completed):
    for _ in range(2):
        answer = ada.post(f"/api/orders/{completed}/retry", "k", **WHY)
        assert (answer.status_code, answer.json["error"]) == (409, "not_retryable")
        assert "has ended" in answer.json["message"]


def test_unknown_order_and_refund_are_not_found(ada):
    nobody = "11111111-1111-4111-8111-111111111111"
    for action, body in ACTIONS.items():
        assert ada.post(f"/api/orders/{nobody}/{action}", **body).json["error"] == "order_not_found"
    for action in ("retry", "dealt-with"):
        assert ada.post(f"/api/refunds/{nobody}/{action}", **WHY).json["error"] == "refund_not_found"


def test_cancel_turns_the_order_back(ada, world, waiting, record):
    answer = ada.post(f"/api/orders/{waiting}/cancel", reason="fraudulent", note="A. Person called.")
    assert (answer.status_code, answer.json["cancel_note"]) == (200, "A. Person called.")
    assert record() == [("ada.operator", "order.cancel", {"order_ledger_id": waiting, "reason": "fraudulent"})]
    world.work()
    assert entry(world, waiting)["status"] == "FAILED"
    assert world.sql("SELECT status FROM payment_authorizations") == [("VOIDED",)]
    assert world.audit() == []


def test_cancel_of_a_completed_order_is_refused_once_and_for_all(ada, completed, record):
    first, again = (ada.post(f"/api/orders/{completed}/cancel", "k", **OTHER) for _ in range(2))
    assert (first.status_code, first.json["error"]) == (409, "order_not_cancellable")
    assert (again.status_code, again.json) == (409, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert record() == []


@pytest.mark.parametrize(
    ("body", "cents", "pieces", "stock"),
    [({}, 2500, 2, 8), ({"amount_cents": 700}, 700, 0, 8), ({"items": 1, "restock": True}, 1250, 1, 9)],
    ids=["whole", "amount", "lines"],
)
def test_refund_is_what_the_dry_run_said(ada, world, record, body, cents, pieces, stock):
    product = world.product(stock=10)
    order = world.order(product).json["order_ledger_id"]
    world.work()
    if "items" in body:
        body = body | {"items": [{"product_id": product, "quantity": body["items"]}]}
    path = f"/api/orders/{order}/refunds"
    dry = ada.post(path, query="?dry_run=true", **OTHER, **body)
    assert (dry.status_code, dry.json["amount_cents"], record()) == (200, cents, [])
    made = ada.post(path, **OTHER, note="A. Person", **body)
    assert (made.status_code, made.json["amount_cents"]) == (202, cents)
    ((actor, action, details),) = record()
    assert (actor, action) == ("ada.operator", "order.refund")
    assert details == {
        "order_ledger_id": order, "refund_id": made.json["refund_id"], "amount_cents": cents, "pieces": pieces,
        "restock": bool(body.get("restock")), "reason": "other",
    }  # fmt: skip
    world.work()
    assert world.sql("SELECT refunded_cents FROM order_ledger") == [(cents,)]
    assert world.stock(product) == stock
    assert world.audit() == []


def test_refund_beyond_what_is_left_is_refused(ada, completed):
    answer = ada.post(f"/api/orders/{completed}/refunds", amount_cents=2501, **OTHER)
    assert (answer.status_code, answer.json["details"]) == (409, {"remaining_cents": 2500})


def test_same_key_at_once_refunds_once(ada, world, completed, record):
    path = f"/api/orders/{completed}/refunds"
    answers = at_once([lambda: ada.post(path, "k", amount_cents=100, **OTHER)] * 8)
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.text for answer in answers}) == 1
    assert world.sql("SELECT idempotency_key, amount_cents FROM refunds") == [(key_of("ada.operator", "k"), 100)]
    assert len(record()) == 1
    other = ada.post(path, "k", amount_cents=200, **OTHER)
    assert (other.status_code, other.json["error"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("action", ACTIONS)
def test_same_key_at_once_has_one_effect(ada, waiting, record, action):
    path = f"/api/orders/{waiting}/{action}"
    answers = at_once([lambda: ada.post(path, "k", **ACTIONS[action])] * 8)
    assert [answer.status_code for answer in answers] == [200] * 8, [answer.text for answer in answers]
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 7
    assert len({json.dumps(answer.json["timeline"]) for answer in answers}) == 1
    assert len(record()) == 1


def test_key_of_the_client_is_another_key(ada, world, completed):
    assert world.refund(completed, key="k", amount_cents=100).status_code == 202
    assert ada.post(f"/api/orders/{completed}/refunds", "k", amount_cents=200, **OTHER).status_code == 202


def test_key_of_another_operator_is_another_key(ada, person, world, completed, record):
    path = f"/api/orders/{completed}/refunds"
    for who, cents in ((ada, 100), (person("operator", name="grace"), 200)):
        assert who.post(path, "k", amount_cents=cents, **OTHER).status_code == 202
    assert [actor for actor, _, _ in record()] == ["ada.operator", "grace"]


def test_key_may_be_as_long_as_any(ada, waiting):
    assert ada.post(f"/api/orders/{waiting}/retry", "k" * 255, **WHY).status_code == 200
    answer = ada.post(f"/api/orders/{waiting}/retry", "k" * 256, **WHY)
    assert (answer.status_code, answer.json["error"]) == (400, "validation_error")


def test_note_is_in_the_timeline_and_not_in_the_record(ada, world, waiting, record):
    answer = ada.post(f"/api/orders/{waiting}/notes", text="A. Person called.")
    told = [(each["kind"], each["detail"]) for each in answer.json["timeline"] if each["kind"] in ("note", "action")]
    assert told == [("note", "A. Person called.")]
    assert record() == [("ada.operator", "order.note", {"order_ledger_id": waiting})]
    assert world.sql("SELECT body FROM edge_idempotency_keys") == [("{}",)]


def test_address_in_a_reason_is_not_in_the_record(ada, waiting, record):
    ada.post(f"/api/orders/{waiting}/retry", reason="for ann@mail.example")
    assert record()[0][2]["reason"] == "for ***"


def test_mark_that_was_dealt_with_comes_back_with_the_next_failure(ada, world, waiting, record):
    assert ada.get(f"/api/orders/{waiting}").json["needs_attention"]
    assert not ada.post(f"/api/orders/{waiting}/dealt-with", **WHY).json["needs_attention"]
    assert entry(world, waiting)["is_marked"]
    assert record() == [("ada.operator", "order.dealt_with", {"order_ledger_id": waiting, **WHY})]
    world.sql("UPDATE order_ledger SET retry_count = 8")
    assert ada.get(f"/api/orders/{waiting}").json["needs_attention"]
    assert not ada.post(f"/api/orders/{waiting}/dealt-with", **WHY).json["needs_attention"]


def test_new_mark_is_shown_after_an_old_one_was_dealt_with(ada, world, waiting):
    ada.post(f"/api/orders/{waiting}/dealt-with", **WHY)
    world.sql("UPDATE order_ledger SET needs_attention_at = clock_timestamp()")  # after a success, as many failures
    assert ada.get(f"/api/orders/{waiting}").json["needs_attention"]


def test_order_that_has_ended_loses_its_mark(ada, world, completed):
    assert ada.post(f"/api/orders/{completed}/dealt-with", **WHY).json["error"] == "needs_no_attention"
    world.sql("UPDATE order_ledger SET needs_attention_at = now(), attention_reason = 'x'")
    assert ada.post(f"/api/orders/{completed}/dealt-with", **WHY).status_code == 200
    assert not entry(world, completed)["is_marked"]


def test_refund_is_retried_and_dealt_with(ada, world, completed, record):
    refund = ada.post(f"/api/orders/{completed}/refunds", **OTHER).json["refund_id"]
    make_wait(world, refund)
    shown = ada.post(f"/api/refunds/{refund}/dealt-with", **WHY)
    assert (shown.status_code, shown.json["refund_id"], shown.json["status"]) == (200, refund, "PENDING")
    (of_order,) = ada.get(f"/api/orders/{completed}").json["refunds"]
    assert (of_order["needs_attention"], of_order["needs_attention_at"] is None) == (False, False)
    assert ada.post(f"/api/refunds/{refund}/retry", **WHY).status_code == 200
    assert refund_row(world, refund) == ("REQUESTED", True, True)
    ids = {"order_ledger_id": completed, "refund_id": refund}
    assert record()[1:] == [
        ("ada.operator", "refund.dealt_with", {**ids, **WHY}),
        ("ada.operator", "refund.retry", {**ids, **WHY}),
    ]
    world.work()
    assert refund_row(world, refund)[0] == "SUCCEEDED"
    world.sql("UPDATE refunds SET needs_attention_at = now(), attention_reason = 'x'")
    assert ada.post(f"/api/refunds/{refund}/dealt-with", **WHY).status_code == 200
    assert not refund_row(world, refund)[2]
    assert ada.post(f"/api/refunds/{refund}/retry", **WHY).json["error"] == "not_retryable"


CALLS = [
    *((f"/api/orders/{{}}/{action}", body) for action, body in ACTIONS.items()),
    ("/api/orders/{}/refunds", OTHER),
    ("/api/refunds/{}/retry", WHY),
    ("/api/refunds/{}/dealt-with", WHY),
    ("/api/jobs", {"action": "retry", "filter": {"client": "shop"}, "rate_per_s": 1, **WHY}),
    ("/api/jobs/{}/stop", {}),
]


@pytest.mark.parametrize(("path", "body"), CALLS, ids=[path for path, _ in CALLS])
def test_viewer_and_read_only_console_change_nothing(person, url, world, waiting, record, path, body):
    viewer = person("viewer")
    admin = person("admin", new_app(url, CONSOLE_READ_ONLY="on"))
    assert viewer.post(path.format(waiting), **body).json["error"] == "forbidden"
    assert admin.post(path.format(waiting), **body).json["error"] == "read_only"
    page = path.removeprefix("/api").format(waiting)
    assert viewer.send(page, **OTHER).status_code == admin.send(page, **OTHER).status_code == 403
    assert record() == []
    assert not entry(world, waiting)["is_due"]
