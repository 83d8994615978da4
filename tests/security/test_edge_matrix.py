"""Each route of the Edge API with each credential, and what a client sees of another one's orders."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from flask import Flask

from common.api.access import Scope
from common.api.errors import Unauthorized
from common.api.paths import openapi_path
from common.api.routes import Operation
from common.credentials import client_keys
from common.database.database import Database
from common.process.settings import Settings
from edge_api import clients
from edge_api.app import create_app
from edge_api.routes import api
from tests import credentials
from tests.credentials import EDGE_KEY, add_key, edge_headers, new_key, service_headers

# The scope that each route needs. A new route needs a row here, on purpose.
POLICY = {
    ("POST", "/orders"): "orders:write",
    ("GET", "/orders"): "orders:read",
    ("GET", "/orders/{order_ledger_id}"): "orders:read",
    ("POST", "/orders/{order_ledger_id}/cancel"): "orders:write",
    ("POST", "/orders/{order_ledger_id}/refunds"): "refunds:write",
    ("GET", "/orders/{order_ledger_id}/refunds"): "orders:read",
    ("GET", "/refunds/{refund_id}"): "orders:read",
    ("GET", "/events"): "orders:read",
    ("GET", "/products"): "products:read",
    ("POST", "/products"): "products:write",
    ("GET", "/products/{product_id}"): "products:read",
    ("PATCH", "/products/{product_id}"): "products:write",
    ("POST", "/products/{product_id}/stock"): "products:write",
    ("POST", "/webhook_endpoints"): "webhooks:write",
    ("GET", "/webhook_endpoints"): "webhooks:write",
    ("GET", "/webhook_endpoints/{webhook_endpoint_id}"): "webhooks:write",
    ("PATCH", "/webhook_endpoints/{webhook_endpoint_id}"): "webhooks:write",
    ("DELETE", "/webhook_endpoints/{webhook_endpoint_id}"): "webhooks:write",
    ("POST", "/webhook_endpoints/{webhook_endpoint_id}/rotate_secret"): "webhooks:write",
    ("POST", "/webhook_endpoints/{webhook_endpoint_id}/test"): "webhooks:write",
    ("GET", "/webhook_endpoints/{webhook_endpoint_id}/deliveries"): "webhooks:write",
    ("POST", "/webhook_endpoints/{webhook_endpoint_id}/deliveries/{delivery_id}/resend"): "webhooks:write",
    ("POST", "/webhook_endpoints/{webhook_endpoint_id}/resend"): "webhooks:write",
}
OPERATIONS = [pytest.param(each, id=f"{each.method} {openapi_path(each.path)}") for each in api.operations]
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def app(url: str) -> Flask:
    return create_app(Settings.load({"DATABASE_URL": url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}))


@pytest.fixture
def sql(url: str) -> Iterator[Callable[..., Any]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True

        def run(statement: str, *params: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement, params)

        yield run


@pytest.fixture
def key(url: str) -> Callable[..., str]:
    """`key(client="other", scopes=["orders:read"])`: a new key."""

    def make(**options: Any) -> str:
        made = new_key()
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            add_key(cursor, made, **options)
        return made

    return make


def status(app: Flask, operation: Operation, authorization: str) -> int:
    """The status of a call that changes nothing. 400, 404 or 409: the caller was let in."""
    path = re.sub(r"\{\w+\}", UNKNOWN_ID, openapi_path(operation.path))
    headers = {"Authorization": authorization, "Idempotency-Key": "k"}
    content = {"json": {"unknown": 1}} if operation.may_change else {}
    return app.test_client().open(path, method=operation.method, headers=headers, **content).status_code


def id_of(key: str) -> str:
    return (client_keys.parts(key) or ("", ""))[0]


def test_routes_declare_the_scopes_of_the_policy() -> None:
    declared = {(each.method, openapi_path(each.path)): each.access for each in api.operations}
    assert declared == {route: Scope(name) for route, name in POLICY.items()}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_the_declared_scope_lets_in(app: Flask, key: Callable[..., str], operation: Operation) -> None:
    assert isinstance(operation.access, Scope)
    assert operation.access.name in client_keys.SCOPES
    for scope in client_keys.SCOPES:
        found = status(app, operation, f"Bearer {key(scopes=[scope])}")
        assert (found not in (401, 403)) == (scope == operation.access.name)
        assert found != 401
    others = set(client_keys.SCOPES) - {operation.access.name}
    assert status(app, operation, f"Bearer {key(scopes=sorted(others))}") == 403


@pytest.mark.parametrize("operation", OPERATIONS)
def test_other_credentials_are_refused(
    app: Flask, key: Callable[..., str], sql: Callable[..., Any], operation: Operation
) -> None:
    revoked, expired, id_ = key(), key(), id_of(EDGE_KEY)
    sql("UPDATE client_keys SET revoked_at = now() WHERE id = %s", id_of(revoked))
    sql("UPDATE client_keys SET expires_at = now() WHERE id = %s", id_of(expired))
    refused = {
        "none": "",
        "the scheme alone": "Bearer",
        "no scheme": EDGE_KEY,
        "another scheme": f"Basic {EDGE_KEY}",
        "twice": f"Bearer {EDGE_KEY}, Bearer {EDGE_KEY}",
        "an unknown id": f"Bearer {new_key()}",
        "a wrong secret": f"Bearer {client_keys.as_text(id_, client_keys.new_secret())}",
        "another key's secret": f"Bearer {client_keys.as_text(id_, revoked.rpartition('_')[2])}",
        "no secret": f"Bearer hf_{id_}_",
        "no id": f"Bearer hf__{EDGE_KEY.rpartition('_')[2]}",
        "another prefix": f"Bearer {EDGE_KEY.replace('hf_', 'hfo_', 1)}",
        "too long": f"Bearer {EDGE_KEY}x",
        "SQL": f"Bearer hf_' OR true; --_{EDGE_KEY.rpartition('_')[2]}",
        "not ASCII": f"Bearer {EDGE_KEY[:-1]}\xff",
        "revoked": f"Bearer {revoked}",
        "expired": f"Bearer {expired}",
        "a service's": service_headers("payments_service", "orchestrator")["Authorization"],
        "a service's for the Edge API": service_headers("edge_api")["Authorization"],
    }
    found = {what: status(app, operation, authorization) for what, authorization in refused.items()}
    assert found == dict.fromkeys(refused, 401)
    assert status(app, operation, f"bearer {EDGE_KEY}") not in (401, 403)


def test_all_refusals_are_alike(app: Flask, key: Callable[..., str], sql: Callable[..., Any]) -> None:
    """The response does not tell whether an id exists, or why its key is refused."""
    revoked = key()
    sql("UPDATE client_keys SET revoked_at = now() WHERE id = %s", id_of(revoked))
    wrong_secret = client_keys.as_text(id_of(EDGE_KEY), client_keys.new_secret())
    bodies = []
    for credential in (new_key(), revoked, wrong_secret, "token"):
        response = app.test_client().get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(credential))
        bodies.append({**response.get_json(), "request_id": ""})
    assert bodies == [bodies[0]] * 4


ENTRY = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, due_at) VALUES (%s, %s, 'k', 'f', %s, 'ada@shop.example', 9, 'USD', 'r', 'AWAITING_AUTHORIZATION',
  now())
"""


def test_foreign_and_unknown_orders_look_alike(app: Flask, key: Callable[..., str], sql: Callable[..., Any]) -> None:
    order = str(uuid.uuid4())
    sql(ENTRY, order, credentials.CLIENT, order)
    second_key, foreign_key = key(client=credentials.CLIENT), key(client="other")
    get = app.test_client().get
    assert get(f"/orders/{order}", headers=edge_headers(second_key)).get_json()["email"] == "ada@shop.example"
    foreign = get(f"/orders/{order}", headers=edge_headers(foreign_key))
    unknown = get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(foreign_key))
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text.replace(order, "").replace(foreign.headers["X-Request-ID"], "") == unknown.text.replace(
        UNKNOWN_ID, ""
    ).replace(unknown.headers["X-Request-ID"], "")


def test_lists_have_no_foreign_orders(app: Flask, key: Callable[..., str], sql: Callable[..., Any]) -> None:
    own, foreign = str(uuid.uuid4()), str(uuid.uuid4())
    sql(ENTRY, own, credentials.CLIENT, own)
    sql(ENTRY, foreign, "other", own)
    for query in ({}, {"client_request_id": "k"}, {"user_id": own}, {"email": "ada@shop.example"}):
        orders = app.test_client().get("/orders", query_string=query, headers=edge_headers(key())).get_json()["orders"]
        assert [order["order_ledger_id"] for order in orders] == [own]


def test_revoked_key_stops_when_the_memory_of_it_ends(
    app: Flask, key: Callable[..., str], sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clients.REMEMBER_S <= 60
    elapsed = [1000.0]
    monkeypatch.setattr(clients, "elapsed", lambda: elapsed[0])
    made = key()
    get = app.test_client().get
    assert get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(made)).status_code == 404
    sql("UPDATE client_keys SET revoked_at = now() WHERE id = %s", id_of(made))
    assert get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(made)).status_code == 404
    elapsed[0] += clients.REMEMBER_S
    assert get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(made)).status_code == 401


def test_key_is_not_remembered_beyond_its_expiry(
    app: Flask, key: Callable[..., str], sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    elapsed = [1000.0]
    monkeypatch.setattr(clients, "elapsed", lambda: elapsed[0])
    made = key()
    sql("UPDATE client_keys SET expires_at = now() + %s WHERE id = %s", timedelta(seconds=5), id_of(made))
    get = app.test_client().get
    assert get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(made)).status_code == 404
    sql("UPDATE client_keys SET expires_at = now() WHERE id = %s", id_of(made))
    elapsed[0] += 5
    assert get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(made)).status_code == 401


def test_use_of_a_key_is_written_once_a_minute(
    app: Flask, key: Callable[..., str], sql: Callable[..., Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elapsed = [1000.0]
    monkeypatch.setattr(clients, "elapsed", lambda: elapsed[0])
    made = key()

    def use() -> tuple[object, int]:
        elapsed[0] += clients.REMEMBER_S
        app.test_client().get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(made))
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT last_used_at, xmin::text FROM client_keys WHERE id = %s", (id_of(made),))
            return cursor.fetchone()

    first = use()
    assert first[0] is not None
    assert use() == first
    sql("UPDATE client_keys SET last_used_at = now() - interval '61 s' WHERE id = %s", id_of(made))
    assert use()[0] > first[0]  # type: ignore[operator]


def test_wrong_secret_writes_no_use(app: Flask, key: Callable[..., str], url: str) -> None:
    made = key()
    wrong = client_keys.as_text(id_of(made), client_keys.new_secret())
    assert app.test_client().get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(wrong)).status_code == 401
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT last_used_at FROM client_keys WHERE id = %s", (id_of(made),))
        assert cursor.fetchone() == (None,)


def test_guesses_of_ids_do_not_drive_out_the_keys_in_use(
    app: Flask, key: Callable[..., str], sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_REMEMBERED", 5)
    in_use = key()

    def get(key: str) -> int:
        return app.test_client().get(f"/orders/{UNKNOWN_ID}", headers=edge_headers(key)).status_code

    assert get(in_use) == 404
    sql("UPDATE client_keys SET revoked_at = now() WHERE id = %s", id_of(in_use))  # from now on it is known from memory
    assert [get(new_key()) for _ in range(20)] == [401] * 20
    assert get(in_use) == 404


def test_guesses_are_remembered_within_a_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_REMEMBERED", 5)
    with closing(Database(url, name="test", size=1)) as database:
        guarded = clients.Clients(database)
        for _ in range(20):
            with pytest.raises(Unauthorized):
                guarded.guard(f"Bearer {new_key()}", Scope("orders:read"))
        assert len(guarded._keys | guarded._unknown) <= 5
