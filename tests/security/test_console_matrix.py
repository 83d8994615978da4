"""Each page and each operation of the console with each credential, role and origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from common.api.access import Role
from common.api.paths import openapi_path
from common.api.routes import Operation
from common.credentials.operator_keys import ROLES, covers
from common.process.settings import Settings
from console.app import create_app
from console.pages import COOKIE, Page, all_pages
from console.routes import api
from tests import credentials
from tests.console.desk import SAME_ORIGIN, Desk, id_of, new_key
from tests.credentials import EDGE_KEY, service_headers

PAGES = all_pages()
ANYONE = None
# The role that each page and each operation needs. A new one needs a row here, on purpose.
POLICY: dict[tuple[str, str], str | None] = {
    ("GET", "/"): "viewer",
    ("GET", "/orders"): "viewer",
    ("GET", "/orders/<uuid:order_ledger_id>"): "viewer",
    ("GET", "/orders/<uuid:order_ledger_id>/live"): "viewer",
    ("GET", "/search"): "viewer",
    ("GET", "/overview/live"): "viewer",
    ("GET", "/charts/hour"): "viewer",
    ("GET", "/charts/day"): "viewer",
    ("GET", "/attention"): "viewer",
    ("GET", "/audit"): "viewer",
    ("GET", "/record"): "viewer",
    ("POST", "/orders/<uuid:order_ledger_id>/retry"): "operator",
    ("POST", "/refunds/<uuid:refund_id>/retry"): "operator",
    ("POST", "/orders/<uuid:order_ledger_id>/cancel"): "operator",
    ("POST", "/orders/<uuid:order_ledger_id>/refunds"): "operator",
    ("GET", "/orders/<uuid:order_ledger_id>/refund-effect"): "operator",
    ("POST", "/orders/<uuid:order_ledger_id>/notes"): "operator",
    ("POST", "/orders/<uuid:order_ledger_id>/dealt-with"): "operator",
    ("POST", "/refunds/<uuid:refund_id>/dealt-with"): "operator",
    ("GET", "/jobs"): "viewer",
    ("GET", "/jobs/new"): "operator",
    ("POST", "/jobs"): "operator",
    ("GET", "/jobs/<uuid:job_id>"): "viewer",
    ("GET", "/jobs/<uuid:job_id>/live"): "viewer",
    ("POST", "/jobs/<uuid:job_id>/stop"): "operator",
    ("GET", "/products"): "viewer",
    ("GET", "/products/<uuid:product_id>"): "viewer",
    ("POST", "/products/<uuid:product_id>/stock"): "operator",
    ("POST", "/products/<uuid:product_id>/change"): "operator",
    ("POST", "/products/<uuid:product_id>/retire"): "operator",
    ("POST", "/products/<uuid:product_id>/resume"): "operator",
    ("GET", "/webhooks"): "viewer",
    ("GET", "/webhooks/<text:webhook_endpoint_id>"): "viewer",
    ("POST", "/webhooks/<text:webhook_endpoint_id>/enable"): "operator",
    ("POST", "/webhooks/<text:webhook_endpoint_id>/disable"): "operator",
    ("POST", "/webhooks/<text:webhook_endpoint_id>/test"): "operator",
    ("POST", "/webhooks/<text:webhook_endpoint_id>/deliveries/<uuid:delivery_id>/resend"): "operator",
    ("POST", "/webhooks/<text:webhook_endpoint_id>/resend"): "operator",
    ("GET", "/keys"): "admin",
    ("POST", "/keys/clients"): "admin",
    ("POST", "/keys/clients/<text:key_id>/rotate"): "admin",
    ("POST", "/keys/clients/<text:key_id>/revoke"): "admin",
    ("POST", "/keys/operators"): "admin",
    ("POST", "/keys/operators/<text:key_id>/revoke"): "admin",
    ("GET", "/sign-in"): ANYONE,
    ("POST", "/sign-in"): ANYONE,
    ("GET", "/sign-in/provider"): ANYONE,
    ("GET", "/sign-in/provider/back"): ANYONE,
    ("POST", "/sign-out"): "viewer",
    ("GET", "/<path:path>"): ANYONE,
    ("GET", "/api/orders"): "viewer",
    ("GET", "/api/orders/<uuid:order_ledger_id>"): "viewer",
    ("GET", "/api/search"): "viewer",
    ("GET", "/api/status"): "viewer",
    ("GET", "/api/attention"): "viewer",
    ("GET", "/api/audit"): "viewer",
    ("GET", "/api/record"): "viewer",
    ("POST", "/api/orders/<uuid:order_ledger_id>/retry"): "operator",
    ("POST", "/api/orders/<uuid:order_ledger_id>/cancel"): "operator",
    ("POST", "/api/orders/<uuid:order_ledger_id>/refunds"): "operator",
    ("POST", "/api/orders/<uuid:order_ledger_id>/notes"): "operator",
    ("POST", "/api/orders/<uuid:order_ledger_id>/dealt-with"): "operator",
    ("POST", "/api/refunds/<uuid:refund_id>/retry"): "operator",
    ("POST", "/api/refunds/<uuid:refund_id>/dealt-with"): "operator",
    ("POST", "/api/jobs"): "operator",
    ("GET", "/api/jobs"): "viewer",
    ("GET", "/api/jobs/count"): "viewer",
    ("GET", "/api/jobs/<uuid:job_id>"): "viewer",
    ("POST", "/api/jobs/<uuid:job_id>/stop"): "operator",
    ("GET", "/api/products"): "viewer",
    ("GET", "/api/products/<uuid:product_id>"): "viewer",
    ("POST", "/api/products/<uuid:product_id>/stock"): "operator",
    ("PATCH", "/api/products/<uuid:product_id>"): "operator",
    ("GET", "/api/webhook_endpoints"): "viewer",
    ("GET", "/api/webhook_endpoints/<text:webhook_endpoint_id>"): "viewer",
    ("PATCH", "/api/webhook_endpoints/<text:webhook_endpoint_id>"): "operator",
    ("POST", "/api/webhook_endpoints/<text:webhook_endpoint_id>/test"): "operator",
    ("GET", "/api/webhook_endpoints/<text:webhook_endpoint_id>/deliveries"): "viewer",
    ("POST", "/api/webhook_endpoints/<text:webhook_endpoint_id>/deliveries/<uuid:delivery_id>/resend"): "operator",
    ("POST", "/api/webhook_endpoints/<text:webhook_endpoint_id>/resend"): "operator",
    ("GET", "/api/client_keys"): "admin",
    ("POST", "/api/client_keys"): "admin",
    ("POST", "/api/client_keys/<text:key_id>/rotate"): "admin",
    ("POST", "/api/client_keys/<text:key_id>/revoke"): "admin",
    ("GET", "/api/operator_keys"): "admin",
    ("POST", "/api/operator_keys"): "admin",
    ("POST", "/api/operator_keys/<text:key_id>/revoke"): "admin",
    ("POST", "/keys/sessions/end"): "admin",
    ("GET", "/api/operator_sessions"): "admin",
    ("POST", "/api/operator_sessions/end"): "admin",
}
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOT_FOUND = {"/<path:path>"}
REFUSED_ORIGINS: dict[str, dict[str, str]] = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "another site, without its name": {"Sec-Fetch-Site": "cross-site"},
    "a sibling": {"Sec-Fetch-Site": "same-site", "Origin": "http://shop.localhost"},
    "a bookmark": {"Sec-Fetch-Site": "none"},
    "another origin": {"Origin": "https://evil.example"},
    "another port": {"Origin": "http://localhost:8000"},
    "a sandbox": {"Origin": "null"},
    "ours in its name": {"Origin": "http://localhost.evil.example"},
    "contradictory": {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    "no header at all": {},
}
OPERATIONS = [pytest.param(each, id=f"{each.method} {openapi_path(each.path)}") for each in api.operations]
GUARDED = [pytest.param(page, id=f"{page.method} {page.path}") for page in PAGES if page.role]
FORMS = [pytest.param(page, id=page.path) for page in PAGES if page.method != "GET"]


@pytest.fixture(scope="module")
def app(migrated_url: str) -> Flask:
    return create_app(Settings.load({"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}))


@pytest.fixture(scope="module")
def read_only(migrated_url: str) -> Flask:
    environ = {"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", "CONSOLE_READ_ONLY": "on", **credentials.SETTINGS}
    return create_app(Settings.load(environ))


@pytest.fixture
def sql(url: str) -> Iterator[Callable[..., Any]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True

        def run(statement: str, *params: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement, params)

        yield run


def path_of(declared: str) -> str:
    return re.sub(r"<[^>]*>", UNKNOWN_ID, declared)


def call(app: Flask, operation: Operation, authorization: str) -> TestResponse:
    """Call it so that nothing changes: the body is not valid."""
    headers = {"Authorization": authorization, "Idempotency-Key": "k"}
    content = {"json": {"unknown": 1}} if operation.may_change else {}
    path = path_of(operation.path)
    return app.test_client().open(path, method=operation.method, headers=headers, **content)


def show(desk: Desk, page: Page) -> TestResponse:
    """Open a page, or send its form without a field."""
    path = path_of(page.path)
    return desk.get(path) if page.method == "GET" else desk.post(path)


def was_let_in(answer: TestResponse) -> bool:
    """Whether the view itself has answered: also when it refuses an unknown id or an empty form."""
    is_sent_to_sign_in = "/sign-in?" in answer.headers.get("Location", "")
    return answer.status_code not in (401, 403) and not is_sent_to_sign_in


def test_every_page_and_operation_is_in_the_policy() -> None:
    declared: dict[tuple[str, str], str | None] = {(page.method, page.path): page.role for page in PAGES}
    for operation in api.operations:
        assert isinstance(operation.access, Role), "only operators call the console"
        declared[operation.method, operation.path] = operation.access.name
    assert declared == POLICY


def test_application_has_no_route_beside_them(app: Flask) -> None:
    known = {path for _, path in POLICY}
    others = {"/static/<path:filename>", "/health", "/live", "/docs", "/docs/page.css", "/docs/rapidoc-min.js"}
    assert {rule.rule for rule in app.url_map.iter_rules()} == known | others | {"/openapi.json"}


# They read, but what they show is not for every viewer: what an action would do, and who has a key.
PREVIEWS = {"/orders/<uuid:order_ledger_id>/refund-effect", "/jobs/new"}
LISTS_OF_KEYS = {"/keys", "/api/client_keys", "/api/operator_keys", "/api/operator_sessions"}


def test_what_changes_something_is_not_asked_for_with_get() -> None:
    limited = {path for (method, path), role in POLICY.items() if method == "GET" and role not in (ANYONE, "viewer")}
    assert limited == PREVIEWS | LISTS_OF_KEYS


# The API


@pytest.mark.parametrize("operation", OPERATIONS)
def test_role_decides_over_each_operation(app: Flask, url: str, operation: Operation) -> None:
    assert isinstance(operation.access, Role)
    for role in ROLES:
        answer = call(app, operation, f"Bearer {new_key(url, role)}")
        assert was_let_in(answer) == covers(role, operation.access.name), role
        assert answer.status_code != 401


@pytest.mark.parametrize("operation", OPERATIONS)
def test_other_credentials_are_refused(app: Flask, url: str, sql: Callable[..., Any], operation: Operation) -> None:
    revoked, expired, good = (new_key(url, "admin") for _ in range(3))
    sql("UPDATE operator_keys SET revoked_at = now() WHERE id = %s", id_of(revoked))
    sql("UPDATE operator_keys SET expires_at = now() WHERE id = %s", id_of(expired))
    session = Desk(app, good).token()
    refused = {
        "none": "", "the scheme alone": "Bearer", "no scheme": good, "another scheme": f"Basic {good}",
        "revoked": f"Bearer {revoked}", "expired": f"Bearer {expired}", "too long": f"Bearer {good}x",
        "another key's secret": f"Bearer hfo_{id_of(good)}_{revoked.rpartition('_')[2]}",
        "a client's": f"Bearer {EDGE_KEY}", "a session's": f"Bearer {session}",
        "a service's": service_headers("orders_service")["Authorization"],
    }  # fmt: skip
    found = {what: call(app, operation, authorization).status_code for what, authorization in refused.items()}
    assert found == dict.fromkeys(refused, 401)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_cookie_of_a_session_does_not_open_the_api(app: Flask, url: str, operation: Operation) -> None:
    """So a page of another site cannot call it, whatever the browser sends with it."""
    desk = Desk(app, new_key(url, "admin"))
    content = {"json": {}} if operation.may_change else {}
    path = path_of(operation.path)
    answer = desk.client.open(path, method=operation.method, headers=SAME_ORIGIN, **content)
    assert answer.status_code == 401


@pytest.mark.parametrize("operation", OPERATIONS)
def test_read_only_console_shows_and_changes_nothing(read_only: Flask, url: str, operation: Operation) -> None:
    assert isinstance(operation.access, Role)
    answer = call(read_only, operation, f"Bearer {new_key(url, 'admin')}")
    assert was_let_in(answer) == (operation.access.name == "viewer")
    assert not (operation.may_change and was_let_in(answer))
    if not was_let_in(answer):
        assert (answer.status_code, answer.json["error"]) == (403, "read_only")


# The pages


@pytest.mark.parametrize("page", GUARDED)
def test_role_decides_over_each_page(app: Flask, url: str, page: Page) -> None:
    for role in ROLES:
        answer = show(Desk(app, new_key(url, role)), page)
        assert was_let_in(answer) == covers(role, str(page.role)), role
        if not was_let_in(answer):
            assert (answer.status_code, answer.mimetype) == (403, "text/html")


@pytest.mark.parametrize("page", GUARDED)
@pytest.mark.parametrize("end", ["revoked", "expired", "signed out", "session expired", "never", "made up"])
def test_page_needs_a_session_that_lives(app: Flask, url: str, sql: Callable[..., Any], page: Page, end: str) -> None:
    key = new_key(url, "admin")
    desk = Desk(app, "" if end in ("never", "made up") else key)
    match end:
        case "revoked":
            sql("UPDATE operator_keys SET revoked_at = now() WHERE id = %s", id_of(key))
        case "expired":
            sql("UPDATE operator_keys SET expires_at = now() WHERE id = %s", id_of(key))
        case "signed out":
            token = desk.token()
            desk.post("/sign-out")
            desk.client.set_cookie(COOKIE, token)
        case "session expired":
            sql("UPDATE operator_sessions SET expires_at = now()")
        case "made up":
            desk.client.set_cookie(COOKIE, key)
    answer = show(desk, page)
    assert not was_let_in(answer)
    assert answer.status_code == (303 if page.method == "GET" else 401)


@pytest.mark.parametrize("page", GUARDED)
def test_key_in_a_header_does_not_open_a_page(app: Flask, url: str, page: Page) -> None:
    headers = {"Authorization": f"Bearer {new_key(url, 'admin')}"}
    assert not was_let_in(show(Desk(app, **headers), page))


@pytest.mark.parametrize("page", GUARDED)
def test_read_only_console_opens_what_viewers_see(read_only: Flask, url: str, page: Page) -> None:
    answer = show(Desk(read_only, new_key(url, "admin")), page)
    assert was_let_in(answer) == (page.role == "viewer")
    if not was_let_in(answer):
        assert "The console is read-only" in answer.text


@pytest.mark.parametrize("page", FORMS)
@pytest.mark.parametrize("origin", REFUSED_ORIGINS)
def test_form_of_another_site_is_refused(app: Flask, url: str, page: Page, origin: str) -> None:
    desk = Desk(app, new_key(url, "admin"))
    desk.headers = REFUSED_ORIGINS[origin]
    answer = show(desk, page)
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    desk.headers = SAME_ORIGIN
    assert desk.is_signed_in, "nothing has happened"


@pytest.mark.parametrize("page", FORMS)
@pytest.mark.parametrize("origin", [SAME_ORIGIN, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}])
def test_form_of_ours_is_taken(app: Flask, url: str, page: Page, origin: dict[str, str]) -> None:
    desk = Desk(app, new_key(url, "admin"))
    desk.headers = origin
    answer = desk.post(path_of(page.path), key=new_key(url))  # the sign-in would refuse an empty form with 403
    assert was_let_in(answer)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_do_nothing(app: Flask, url: str, method: str) -> None:
    desk = Desk(app, new_key(url, "admin"))
    for _, path in POLICY:
        if not path.startswith("/api/"):
            answer = desk.client.open(path_of(path), method=method, headers=SAME_ORIGIN)
            assert answer.status_code == 405, path
    assert desk.is_signed_in
