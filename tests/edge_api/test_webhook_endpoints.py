"""Webhook endpoints through the Edge API. The process that delivers is tested in tests/webhooks."""

from __future__ import annotations

import base64
import re
from contextlib import closing

import psycopg2
import pytest

from common.database.database import Database
from common.process.settings import Settings
from edge_api.app import create_app
from tests import credentials
from tests.credentials import add_key, edge_headers, new_key
from tests.webhooks.conftest import World
from webhooks.delivery import Answer
from webhooks.store import Store

NEW = {"url": "https://shop.example/hook", "event_types": ["*"], "description": "the shop"}
UNKNOWN = "we_000000000000000000000000"
NO_DELIVERY = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def call(edge_app, url):
    """`call("PATCH", "/webhook_endpoints/…", {…})`: the answer."""

    def send(method, path, body=None, api_key=credentials.EDGE_KEY, app=edge_app, **query):
        content = {} if body is None else {"json": body}
        headers = edge_headers(api_key)
        return app.test_client().open(path, method=method, headers=headers, query_string=query, **content)

    return send


@pytest.fixture
def foreign_key(url):
    made = new_key()
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        add_key(cursor, made, client="till")
    return made


@pytest.fixture
def endpoint(call):
    return call("POST", "/webhook_endpoints", NEW).json


@pytest.fixture
def path(endpoint):
    return f"/webhook_endpoints/{endpoint['id']}"


@pytest.fixture
def database(url):
    database = Database(url, name="test", size=4)
    yield database
    database.close()


@pytest.fixture
def world(database):
    return World(database)


@pytest.fixture
def store(database):
    return Store(database, "me", 64, 60)


@pytest.fixture
def deliver(world, store, endpoint):
    """`deliver(3, status=500)`: three events of one order, and one attempt for each that may be attempted."""

    def make(count=1, status=204):
        order = world.order()
        events = [world.event(order, number + 1) for number in range(count)]
        store.fan_out()
        attempt(store, endpoint, status)
        return events

    return make


def attempt(store, endpoint, status=204):
    done = []
    while claimed := store.claim(endpoint["id"], 64):
        for delivery in claimed:
            store.save(delivery, Answer(status, "so"))
            done.append(delivery.message_id)
    return done


def test_endpoint_is_made_with_a_secret_that_is_shown_once(call):
    response = call("POST", "/webhook_endpoints", NEW)
    assert response.status_code == 201
    made = response.json
    assert response.headers["Location"] == f"/webhook_endpoints/{made['id']}"
    assert re.fullmatch("we_[A-Za-z0-9]{24}", made["id"])
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert call("GET", response.headers["Location"]).json == shown
    assert call("GET", "/webhook_endpoints").json == {"webhook_endpoints": [shown]}
    assert {name: shown[name] for name in NEW} == NEW
    assert (shown["status"], shown["failing_since"], shown["disabled_at"]) == ("enabled", None, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "ftp://shop.example"}, "url"), ({"url": "https://"}, "url"), ({"url": "shop.example"}, "url"),
        ({"url": "https://user:pw@shop.example/"}, "url"), ({"url": "https://shop.example/#part"}, "url"),
        ({"url": "https://shop.example/a b"}, "url"), ({"url": "https://shop.example/\r\nX: y"}, "url"),
        ({"url": "https://münchen.example/"}, "url"), ({"url": "https://shop.example:99999/"}, "url"),
        ({"url": "https://shop.example:0/"}, "url"), ({"url": f"https://shop.example/{'x' * 2048}"}, "url"),
        ({"url": f"https://{'x' * 64}.example/"}, "url"), ({"url": "https://[::1/"}, "url"), ({"url": 1}, "url"),
        ({"url": "https://shop.example\\@evil.example/"}, "url"), ({"url": "https://shop_1.example/"}, "url"),
        ({"url": f"https://{'a.' * 127}example/"}, "url"), ({"url": "https://shop.example/\n"}, "url"),
        ({"event_types": []}, "event_types"), ({"event_types": ["order.lost"]}, "event_types"),
        ({"event_types": ["*", "order.failed"]}, "event_types"), ({"event_types": "*"}, "event_types"),
        ({"description": ""}, "description"), ({"description": "a\nb"}, "description"),
        ({"secret": "whsec_x"}, "secret"), ({"status": "disabled"}, "status"),
    ],
)  # fmt: skip
def test_endpoint_that_cannot_work_is_refused(call, changes, field):
    response = call("POST", "/webhook_endpoints", NEW | changes)
    assert (response.status_code, response.json["error"]) == (400, "validation_error")
    assert set(response.json["details"]) == {field}


def test_only_https_in_production(url, call, monkeypatch):
    production = create_app(
        Settings.load({"DATABASE_URL": url, "APP_ENV": "production", "LOG_LEVEL": "ERROR", **credentials.SETTINGS})
    )
    refused = call("POST", "/webhook_endpoints", NEW | {"url": "http://shop.example/"}, app=production)
    assert set(refused.json["details"]) == {"url"}
    made = call("POST", "/webhook_endpoints", NEW, app=production)
    assert made.status_code == 201
    path = made.headers["Location"]
    assert call("PATCH", path, {"url": "http://shop.example/"}, app=production).status_code == 400
    assert call("PATCH", path, {"description": None}, app=production).json["description"] is None


def test_the_number_of_endpoints_is_limited(call, monkeypatch):
    monkeypatch.setattr("edge_api.webhooks.MAX_ENDPOINTS", 2)
    assert [call("POST", "/webhook_endpoints", NEW).status_code for _ in range(3)] == [201, 201, 409]


def test_fields_can_be_changed(call, endpoint, path):
    changes = {"url": "http://other.example/", "event_types": ["order.failed", "order.failed"], "description": None}
    changed = call("PATCH", path, changes).json
    assert changed == call("GET", path).json
    assert changed["url"] == "http://other.example/"
    assert changed["event_types"] == ["order.failed"]
    assert changed["description"] is None
    assert call("PATCH", path, {}).json["url"] == "http://other.example/"


def test_disabled_and_enabled_again(call, endpoint, path, world):
    disabled = call("PATCH", path, {"status": "disabled"}).json
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "disabled by its owner")
    assert call("PATCH", path, {"status": "disabled"}).json["disabled_at"] == disabled["disabled_at"]
    world.set_endpoint(endpoint["id"], "failing_since = now(), warnings = 1")
    enabled = call("PATCH", path, {"status": "enabled"}).json
    assert (enabled["status"], enabled["disabled_at"], enabled["failing_since"]) == ("enabled", None, None)


def test_corrected_url_has_five_days_again(call, endpoint, path, world, store):
    world.set_endpoint(endpoint["id"], "failing_since = now() - interval '6 days', warnings = 3")
    assert call("PATCH", path, {"description": "soon"}).json["failing_since"] is not None
    assert call("PATCH", path, {"url": "https://corrected.example/"}).json["failing_since"] is None
    store.look_after_endpoints()
    assert call("GET", path).json["status"] == "enabled"


def test_410_of_the_former_url_does_not_disable_the_endpoint(call, endpoint, path, world, store):
    world.event(world.order())
    store.fan_out()
    (in_flight,) = store.claim(endpoint["id"], 1)
    call("PATCH", path, {"url": "https://corrected.example/"})
    assert store.save(in_flight, Answer(410))
    assert call("GET", path).json["status"] == "enabled"
    (delivery,) = call("GET", f"{path}/deliveries").json["deliveries"]
    assert (delivery["status"], delivery["response_status"]) == ("pending", 410)


def test_deleted_endpoint_is_gone_with_its_secrets(call, endpoint, path, world, store, deliver):
    deliver(1)
    assert call("DELETE", path).json == {"id": endpoint["id"], "deleted": True}
    assert call("GET", path).status_code == call("DELETE", path).status_code == 404
    assert call("GET", "/webhook_endpoints").json == {"webhook_endpoints": []}
    assert world.database.all("SELECT 1 FROM webhook_secrets WHERE endpoint_id = %(id)s", id=endpoint["id"]) == []
    world.event(world.order())
    assert store.fan_out() == 0


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None), ("POST", "/rotate_secret", None),
        ("POST", "/test", None), ("GET", "/deliveries", None), ("POST", "/resend", {"since": "2026-01-01T00:00:00Z"}),
        ("POST", f"/deliveries/{NO_DELIVERY}/resend", None),
    ],
)  # fmt: skip
def test_foreign_and_unknown_endpoints_look_alike(call, path, foreign_key, method, rest, body):
    foreign = call(method, f"{path}{rest}", body, api_key=foreign_key)
    unknown = call(method, f"/webhook_endpoints/{UNKNOWN}{rest}", body, api_key=foreign_key)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json | {"request_id": ""} == unknown.json | {"request_id": ""}
    assert foreign.json["error"] == "not_found"


def test_foreign_endpoints_are_not_listed(call, endpoint, foreign_key):
    assert call("GET", "/webhook_endpoints", api_key=foreign_key).json == {"webhook_endpoints": []}


# Secrets


def signatures(store, world, endpoint):
    world.event(world.order())
    store.fan_out()
    (delivery,) = store.claim(endpoint["id"], 1)
    store.save(delivery, Answer(204))
    return delivery.headers["webhook-signature"].split()


def test_both_secrets_sign_for_24_hours_after_a_rotation(call, endpoint, path, world, store):
    rotated = call("POST", f"{path}/rotate_secret").json
    assert rotated["secret"] != endpoint["secret"]
    assert len(signatures(store, world, endpoint)) == 2
    world.database.all("UPDATE webhook_secrets SET valid_until = valid_until - interval '23:59:00'")
    assert len(signatures(store, world, endpoint)) == 2
    world.database.all("UPDATE webhook_secrets SET valid_until = valid_until - interval '1 minute'")
    assert len(signatures(store, world, endpoint)) == 1
    call("POST", f"{path}/rotate_secret")
    assert len(world.database.all("SELECT 1 FROM webhook_secrets")) == 2  # the expired one is deleted


def test_secret_cannot_be_rotated_without_end(call, path):
    statuses = [call("POST", f"{path}/rotate_secret").status_code for _ in range(10)]
    assert statuses == [200] * 9 + [429]
    refused = call("POST", f"{path}/rotate_secret")
    assert refused.json["error"] == "rate_limited"
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400


# Deliveries


def test_test_event_is_delivered_like_any_other(call, endpoint, path, store):
    made = call("POST", f"{path}/test")
    assert (made.status_code, made.json["event_type"], made.json["status"]) == (202, "webhook.test", "pending")
    assert attempt(store, endpoint) == [made.json["event_id"]]
    (shown,) = call("GET", f"{path}/deliveries").json["deliveries"]
    assert (shown["status"], shown["response_status"], shown["response_body"]) == ("succeeded", 204, "so")


def test_deliveries_are_listed_newest_first_with_a_filter_and_pages(call, path, deliver):
    done, failed = [deliver(1)[0] for _ in range(5)], deliver(1, status=500)
    pages, cursor = [], {}
    while True:
        page = call("GET", f"{path}/deliveries", limit=2, **cursor).json
        pages += [each["event_id"] for each in page["deliveries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [*failed, *reversed(done)]
    (pending,) = call("GET", f"{path}/deliveries", status="pending").json["deliveries"]
    assert (pending["event_id"], pending["attempts"], pending["response_status"]) == (failed[0], 1, 500)
    assert pending["next_attempt_at"] is not None
    succeeded = call("GET", f"{path}/deliveries", status="succeeded", limit=3).json
    assert len(succeeded["deliveries"]) == 3
    assert call("GET", f"{path}/deliveries", status="failed").json == {"deliveries": [], "next_cursor": None}
    assert call("GET", f"{path}/deliveries", status="lost").status_code == 400


def test_deliveries_that_were_made_together_are_listed_newest_first(call, path, deliver):
    events = deliver(6)
    listed = [each["event_id"] for each in call("GET", f"{path}/deliveries").json["deliveries"]]
    assert listed == events[::-1]


def test_one_delivery_is_sent_again(call, endpoint, path, deliver, store):
    (event,) = deliver(1)
    (shown,) = call("GET", f"{path}/deliveries").json["deliveries"]
    again = call("POST", f"{path}/deliveries/{shown['id']}/resend")
    assert (again.status_code, again.json["status"], again.json["attempts"]) == (202, "pending", 0)
    assert attempt(store, endpoint) == [event]
    missing = call("POST", f"{path}/deliveries/{NO_DELIVERY}/resend")
    assert (missing.status_code, missing.json["error"]) == (404, "not_found")


def test_deliveries_of_a_disabled_endpoint_wait_until_it_is_enabled(call, endpoint, path, deliver, store):
    deliver(1, status=500)
    (pending,) = call("GET", f"{path}/deliveries").json["deliveries"]
    call("PATCH", path, {"status": "disabled"})
    made = call("POST", f"{path}/test")
    again = call("POST", f"{path}/deliveries/{pending['id']}/resend")
    assert (made.status_code, again.status_code) == (202, 202)
    listed = call("GET", f"{path}/deliveries").json["deliveries"]
    shown = [each["next_attempt_at"] for each in (made.json, again.json, *listed)]
    assert shown == [None] * 4
    assert attempt(store, endpoint) == []
    call("PATCH", path, {"status": "enabled"})
    assert all(each["next_attempt_at"] for each in call("GET", f"{path}/deliveries").json["deliveries"])
    assert set(attempt(store, endpoint)) == {pending["event_id"], made.json["event_id"]}


def test_delivery_in_flight_is_left_alone(call, endpoint, path, world, store):
    world.event(world.order())
    store.fan_out()
    (claimed,) = store.claim(endpoint["id"], 1)
    again = call("POST", f"{path}/deliveries/{claimed.id}/resend")
    assert (again.status_code, again.json["next_attempt_at"]) == (202, None)
    assert world.deliveries(endpoint["id"])[0]["first_attempt_at"], "its attempt goes on"
    assert store.save(claimed, Answer(204))


def test_failed_deliveries_are_sent_again_in_order(call, endpoint, path, world, deliver, store):
    succeeded, failed = deliver(2), deliver(3, status=500)
    world.database.all(
        "UPDATE webhook_deliveries SET status = 'failed', due_at = NULL, ended_at = now()"
        " WHERE message_id = ANY (%(ids)s)",
        ids=failed[:2],
    )
    answer = call("POST", f"{path}/resend", {"since": "2026-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json) == (202, {"resent": 2, "next_since": None})
    world.set_endpoint(endpoint["id"], "failing_since = NULL")
    assert attempt(store, endpoint) == failed
    everything = call("POST", f"{path}/resend", {"since": "2026-01-01T00:00:00Z", "only_failed": False})
    assert everything.json["resent"] == 5
    assert sorted(attempt(store, endpoint)) == sorted(succeeded + failed)
    assert call("POST", f"{path}/resend", {"since": "2100-01-01T00:00:00Z"}).json["resent"] == 0


def test_many_deliveries_are_sent_again_in_several_requests(call, endpoint, path, deliver, monkeypatch):
    monkeypatch.setattr("edge_api.webhooks.RESEND_BATCH", 2)
    monkeypatch.setattr("edge_api.webhooks.MAX_RESENT", 4)
    for _ in range(7):
        deliver(1)
    body = {"since": "2026-01-01T00:00:00Z", "only_failed": False}
    first = call("POST", f"{path}/resend", body).json
    assert first["resent"] == 4
    second = call("POST", f"{path}/resend", body | {"since": first["next_since"]}).json
    assert (second["resent"], second["next_since"]) == (3, None)


@pytest.mark.parametrize("body", [{}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00Z", "only_failed": "no"}])
def test_resend_needs_a_time(call, path, body):
    assert call("POST", f"{path}/resend", body).status_code == 400
