"""Webhooks in the console: the endpoints of all clients, what their receivers answered, and what operators do."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from common.database.database import Database
from tests.at_once import at_once
from tests.console.desk import Desk, text_of
from tests.console.shelves import key_of_page, operator, record, viewer
from tests.webhooks.conftest import World, database, world

__all__ = ["database", "operator", "record", "viewer", "world"]  # fixtures

Sql = Callable[..., list[dict[str, Any]]]
DELIVERY = """
INSERT INTO webhook_deliveries (endpoint_id, event_id, message_id, type, order_ledger_id, sequence, due_at)
SELECT %(endpoint)s, id, id, type, order_ledger_id, sequence, now() FROM events WHERE id = %(event)s
"""
FAILED = (
    "status = 'failed', due_at = NULL, ended_at = now(), attempts = 9, first_attempt_at = now(),"
    " last_attempt_at = now(), response_status = 500, response_body = '<script>alert(1)</script>'"
)


def deliver(world: World, endpoint: str, assignment: str = "", sequence: int = 1) -> str:
    """A delivery to an endpoint. :returns: its event"""
    event = world.event(world.order(), sequence)
    world.database.all(DELIVERY, endpoint=endpoint, event=event)
    if assignment:
        world.set_delivery(event, assignment)
    return event


def test_endpoints_of_all_clients_are_listed_with_what_is_wrong(viewer: Desk, world: World) -> None:
    good = world.endpoint("https://a.example/hook", client="alpha")
    bad = world.endpoint("https://b.example/hook", client="beta")
    world.set_endpoint(bad, "failing_since = now(), status = 'disabled', disabled_at = now(), disabled_reason = 'dead'")
    gone = world.endpoint("https://c.example/hook", client="gone")
    world.set_endpoint(gone, "deleted_at = now()")
    deliver(world, good)
    page = viewer.get("/webhooks")
    assert [url in page.text for url in ("a.example", "b.example", "c.example")] == [True, True, False]
    assert "dead" in page.text
    assert page.text.count("<time") >= 4
    troubled = viewer.get("/webhooks", in_trouble="true").text
    assert ("a.example" in troubled, "b.example" in troubled) == (False, True)
    one = viewer.get("/webhooks", client="alpha").text
    assert ("a.example" in one, "b.example" in one) == (True, False)
    assert "problem" in viewer.get("/webhooks", in_trouble="maybe").text


@pytest.mark.parametrize("filters", [{}, {"client": "shop"}, {"in_trouble": "true"}])
def test_list_goes_page_by_page(
    console_app: Flask, key: Callable[..., str], world: World, filters: dict[str, str]
) -> None:
    made = [world.endpoint() for _ in range(5)]
    world.database.all("UPDATE webhook_endpoints SET failing_since = now()")
    client, query, seen = console_app.test_client(), {**filters, "limit": "2"}, []
    headers = {"Authorization": f"Bearer {key()}"}
    for _ in range(3):
        answer = client.get("/api/webhook_endpoints", query_string=query, headers=headers).json
        seen += [each["id"] for each in answer["webhook_endpoints"]]
        query["cursor"] = answer["next_cursor"]
    assert (seen, answer["next_cursor"]) == (made, None)


def test_answer_of_a_receiver_is_shown_as_text_and_secrets_are_not(viewer: Desk, world: World) -> None:
    endpoint = world.endpoint()
    deliver(world, endpoint, FAILED)
    page = viewer.get(f"/webhooks/{endpoint}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert world.secrets[endpoint] not in page
    assert "whsec" not in page


def test_deliveries_are_filtered_and_go_page_by_page(viewer: Desk, world: World) -> None:
    endpoint = world.endpoint()
    failed = deliver(world, endpoint, FAILED)
    events = [deliver(world, endpoint) for _ in range(20)]
    newest = viewer.get(f"/webhooks/{endpoint}").text
    assert [event in newest for event in (failed, *events)] == [False] + [True] * 20
    (cursor,) = re.findall(r'rel="next"[^>]*cursor=([^"&]+)"', newest)
    assert failed in viewer.get(f"/webhooks/{endpoint}", cursor=cursor).text
    only = viewer.get(f"/webhooks/{endpoint}", status="failed").text
    assert [event in only for event in (failed, events[0])] == [True, False]
    assert "No delivery is succeeded" in viewer.get(f"/webhooks/{endpoint}", status="succeeded").text
    assert "Must be one of" in viewer.get(f"/webhooks/{endpoint}", status="lost").text
    assert "cursor" in viewer.get(f"/webhooks/{endpoint}", cursor="x").text


def test_client_and_trouble_are_filtered_together(viewer: Desk, world: World) -> None:
    """Only those of the client that are in trouble, on every page."""
    well, failing = world.endpoint(client="alpha"), world.endpoint(client="alpha")
    elsewhere, later = world.endpoint(client="beta"), world.endpoint(client="alpha")
    for id_ in (failing, elsewhere, later):
        world.set_endpoint(id_, "failing_since = now()")
    first = viewer.get("/webhooks", client="alpha", in_trouble="true", limit=1).text
    assert [id_ in first for id_ in (well, failing, elsewhere, later)] == [False, True, False, False]
    address = first.partition('rel="next"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    second = viewer.get(address).text
    assert [id_ in second for id_ in (well, failing, elsewhere, later)] == [False, False, False, True]


@pytest.mark.parametrize("path", ["we_none", "x" * 300, "we_none/nothing"])
def test_unknown_endpoint_is_not_found(viewer: Desk, path: str) -> None:
    assert viewer.get(f"/webhooks/{path}").status_code == 404


def test_deleted_endpoint_cannot_be_changed(operator: Desk, world: World, record: Sql) -> None:
    endpoint = world.endpoint()
    world.set_endpoint(endpoint, "deleted_at = now()")
    for action in ("test", "disable", "enable", "resend"):
        assert operator.post(f"/webhooks/{endpoint}/{action}", reason="x", key="one").status_code == 404
    assert record("webhooks.") == []


def test_endpoint_is_disabled_and_enabled_with_its_record(operator: Desk, world: World, record: Sql) -> None:
    endpoint = world.endpoint(client="alpha")
    page = f"/webhooks/{endpoint}"
    form = {"reason": "floods us", "key": key_of_page(operator, page)}
    for _ in range(2):
        assert operator.post(f"{page}/disable", **form).headers["Location"] == page
    row = world.row(endpoint)
    # The client reads who, not why.
    assert (row["status"], row["disabled_reason"]) == ("disabled", "disabled by an operator")
    assert "Disabled. Its events are kept" in operator.get(page).text
    assert operator.post(f"{page}/enable", reason="calm again", key=key_of_page(operator, page)).status_code == 303
    assert world.row(endpoint)["status"] == "enabled"
    about = {"webhook_endpoint_id": endpoint, "client": "alpha"}
    assert record("webhooks.") == [
        {"actor": "olga", "action": "webhooks.disable", "details": about | {"reason": "floods us"}},
        {"actor": "olga", "action": "webhooks.enable", "details": about | {"reason": "calm again"}},
    ]


def test_reason_is_required(operator: Desk, world: World) -> None:
    endpoint = world.endpoint()
    refused = operator.post(f"/webhooks/{endpoint}/disable", reason=" ", key="one")
    assert (refused.status_code, "Not done." in refused.text) == (400, True)
    assert world.row(endpoint)["status"] == "enabled"


def test_test_event_is_sent_once(
    console_app: Flask, key: Callable[..., str], operator: Desk, world: World, record: Sql
) -> None:
    endpoint = world.endpoint()
    desks = [operator, *(Desk(console_app, key("operator", name="olga")) for _ in range(3))]
    answers = at_once([lambda desk=desk: desk.post(f"/webhooks/{endpoint}/test", key="one") for desk in desks])
    assert {answer.status_code for answer in answers} <= {303, 503, 409}
    assert [row["type"] for row in world.deliveries(endpoint)] == ["webhook.test"]
    assert len(record("webhooks.")) == 1


def test_failed_delivery_is_sent_again_and_recorded(operator: Desk, world: World, record: Sql) -> None:
    endpoint = world.endpoint()
    deliver(world, endpoint, FAILED)
    (failed,) = world.deliveries(endpoint)
    page = f"/webhooks/{endpoint}"
    assert operator.post(f"{page}/deliveries/{failed['id']}/resend", key="one").status_code == 303
    (again,) = world.deliveries(endpoint)
    assert (again["status"], again["attempts"], again["is_due"]) == ("pending", 0, True)
    assert "was queued to be delivered again" in operator.get(page).text
    assert record("webhooks.")[0]["details"]["delivery_id"] == failed["id"]


def test_delivery_to_another_endpoint_is_not_found(operator: Desk, world: World, record: Sql) -> None:
    mine, other = world.endpoint(), world.endpoint()
    deliver(world, other, FAILED)
    (failed,) = world.deliveries(other)
    for delivery in (failed["id"], uuid.uuid4()):
        assert operator.post(f"/webhooks/{mine}/deliveries/{delivery}/resend", key="one").status_code == 404
    assert (world.deliveries(other)[0]["status"], record("webhooks.")) == ("failed", [])


def test_all_that_failed_since_a_time_is_sent_again_once(operator: Desk, world: World, record: Sql) -> None:
    endpoint = world.endpoint()
    for _ in range(3):
        deliver(world, endpoint, FAILED)
    world.set_delivery(deliver(world, endpoint, FAILED), "created_at = now() - interval '2 days'")
    (since,) = world.database.all("SELECT to_char(now() - interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at")
    page, form = f"/webhooks/{endpoint}", {"since": since["at"], "key": "one"}
    assert operator.post(f"{page}/resend", **form).status_code == 303
    assert "3 deliveries were queued to be delivered again." in operator.get(page).text
    world.database.all(f"UPDATE webhook_deliveries SET {FAILED}")
    assert operator.post(f"{page}/resend", **form).status_code == 303
    assert "nothing was changed a second time" in operator.get(page).text
    assert {row["status"] for row in world.deliveries(endpoint)} == {"failed"}
    assert [row["action"] for row in record("webhooks.")] == ["webhooks.resend_since"]


@pytest.mark.parametrize("since", ["", "yesterday", "2026-01-31"])
def test_time_that_cannot_be_read_is_refused(operator: Desk, world: World, since: str) -> None:
    refused = operator.post(f"/webhooks/{world.endpoint()}/resend", since=since, key="one")
    assert (refused.status_code, "RFC 3339" in refused.text) == (400, True)


def test_viewer_sees_no_action_and_may_do_none(viewer: Desk, world: World, record: Sql) -> None:
    endpoint = world.endpoint()
    deliver(world, endpoint, FAILED)
    (failed,) = world.deliveries(endpoint)
    assert "data-opens" not in viewer.get(f"/webhooks/{endpoint}").text
    for action in ("test", "disable", "enable", "resend", f"deliveries/{failed['id']}/resend"):
        answer = viewer.post(f"/webhooks/{endpoint}/{action}", reason="x", since="2026-01-01T00:00:00Z", key="one")
        assert answer.status_code == 403
    assert (record("webhooks."), world.deliveries(endpoint)) == ([], [failed])


def test_api_does_the_same(console_app: Flask, key: Callable[..., str], database: Database, world: World) -> None:
    client, endpoint = console_app.test_client(), world.endpoint(client="alpha")
    deliver(world, endpoint, FAILED)
    (failed,) = world.deliveries(endpoint)
    at = f"/api/webhook_endpoints/{endpoint}"
    headers = {"Authorization": f"Bearer {key('operator')}"}

    def post(path: str, number: str, **body: Any) -> Any:
        return client.post(f"{at}{path}", json=body, headers=headers | {"Idempotency-Key": number})

    shown = client.get(at, headers=headers).json
    assert (shown["client"], shown["status"], "secret" in shown) == ("alpha", "enabled", False)
    (listed,) = client.get(f"{at}/deliveries", query_string={"status": "failed"}, headers=headers).json["deliveries"]
    assert listed["id"] == failed["id"]
    assert post(f"/deliveries/{failed['id']}/resend", "1").json["status"] == "pending"
    for _ in range(2):
        tested = post("/test", "2")
        assert (tested.status_code, tested.json["event_type"]) == (202, "webhook.test")
    assert post("/resend", "3", since="2026-01-01T00:00:00Z").json == {"resent": 0, "next_since": None}
    change = {"status": "disabled", "reason": "why"}
    changed = client.patch(at, json=change, headers=headers | {"Idempotency-Key": "4"})
    assert (changed.json["status"], changed.json["disabled_reason"]) == ("disabled", "disabled by an operator")
    assert client.patch(at, json=change, headers=headers).json["error"] == "missing_idempotency_key"
    assert "alpha" in text_of(Desk(console_app, key()).get("/webhooks"))
