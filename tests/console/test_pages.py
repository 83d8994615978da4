"""What every page keeps to: sign-in first, a safe way back, headers against other sites, errors as pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from common.api.errors import Forbidden
from common.database.errors import DatabaseBusy, DatabaseUnavailable
from console import overview
from console.operators import Operators
from console.pages import COOKIE, HEADERS, NAVIGATION, Page, _handler, all_pages
from tests.console.desk import SAME_ORIGIN, Desk, text_of
from tests.database.test_boundaries import ROOT

Key = Callable[..., str]
MakeApp = Callable[..., Flask]
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=\"|javascript:", re.IGNORECASE)


def test_visitor_is_sent_to_sign_in_and_back(console_app: Flask, key: Key) -> None:
    desk = Desk(console_app)
    sent = desk.get("/orders", status="FAILED", reference="a&b")
    where = urlsplit(sent.headers["Location"])
    assert (sent.status_code, where.path) == (303, "/sign-in")
    (wanted,) = parse_qs(where.query)["next"]
    page = desk.get("/sign-in", next=wanted)
    assert f'name="next" value="{wanted.replace("&", "&amp;")}"' in page.text
    back = desk.sign_in(key(), next=wanted)
    assert (back.status_code, back.headers["Location"]) == (303, "/orders?status=FAILED&reference=a%26b")


NO_ORDER = "01a22cc0-12be-7154-8189-b8e2e064d050"


@pytest.mark.parametrize("elsewhere", [
    "//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", "evil", "/\tevil", "/a\\b",
    "/\n/evil.example", "http:/evil.example", "/\u2028x", "",
])  # fmt: skip
def test_sign_in_never_leads_to_another_site(console_app: Flask, key: Key, elsewhere: str) -> None:
    assert Desk(console_app).sign_in(key(), next=elsewhere).headers["Location"] == "/"


def test_form_after_the_end_of_a_session_says_so(console_app: Flask) -> None:
    answer = Desk(console_app).post("/sign-out")
    assert (answer.status_code, answer.mimetype) == (401, "text/html")
    assert "Your session has ended" in answer.text
    assert "WWW-Authenticate" not in answer.headers


def test_fragment_after_the_end_of_a_session_is_refused(console_app: Flask) -> None:
    desk = Desk(console_app, **{"HX-Request": "true"})
    assert desk.get("/").status_code == 401


@pytest.mark.parametrize(("path", "status"), [("/no/such/page", 404), (f"/orders/{NO_ORDER}", 404)])
def test_error_is_a_page(desk: Desk, path: str, status: int) -> None:
    answer = desk.get(path)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert answer.headers["X-Request-ID"] in answer.text


def test_page_of_another_role_leads_back_to_the_overview(desk: Desk) -> None:
    answer = desk.get("/keys")
    assert answer.status_code == 403
    assert "This needs the role admin, and ada has the role viewer." in text_of(answer)
    assert '<a href="/">To the overview</a>' in answer.text
    assert '<a href="/sign-in">' not in answer.text
    assert '<a class="brand"' in answer.text


def test_page_that_is_not_there_leads_an_operator_to_the_overview(desk: Desk) -> None:
    answer = desk.get("/no/such/page").text
    assert '<a href="/">To the overview</a>' in answer
    assert '<a href="/sign-in">' not in answer


def test_page_after_the_end_of_a_session_leads_to_the_sign_in(console_app: Flask) -> None:
    assert '<a href="/sign-in">Sign in</a>' in Desk(console_app).post("/sign-out").text


def test_error_of_the_api_is_json(console_app: Flask, key: Key) -> None:
    answer = console_app.test_client().get(f"/api/orders/{UNKNOWN_ID}", headers={"Authorization": f"Bearer {key()}"})
    assert (answer.status_code, answer.json["error"]) == (404, "order_not_found")
    unknown = console_app.test_client().get("/api/nothing", headers={"Authorization": f"Bearer {key()}"})
    assert (unknown.status_code, unknown.json["error"]) == (404, "not_found")


@pytest.mark.parametrize(("error", "status"), [(DatabaseBusy("busy"), 503), (RuntimeError("hunter2"), 500)])
def test_fault_is_a_page_without_its_cause(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(overview, "render_template", fail)
    answer = desk.get("/")
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "hunter2" not in answer.text


GETS = [page.path for page in all_pages() if page.method == "GET" and "<" not in page.path]


@pytest.mark.parametrize("path", [*GETS, "/no/such/page", f"/orders/{NO_ORDER}", "/static/console.js"])
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_every_answer_has_the_headers(console_app: Flask, key: Key, path: str, is_signed_in: bool) -> None:
    answer = Desk(console_app, key() if is_signed_in else "").get(path)
    answer.close()  # a file
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", GETS)
def test_no_page_has_a_script_or_a_style_of_its_own(desk: Desk, path: str) -> None:
    assert not INLINE.search(desk.get(path).text)


def test_pages_are_not_stored_by_caches(desk: Desk) -> None:
    assert desk.get("/").headers["Cache-Control"] == "no-store"


def cookie_of(app: Flask, key: str, **headers: str) -> str:
    answer = app.test_client().post("/sign-in", data={"key": key}, headers=SAME_ORIGIN | headers)
    return answer.headers["Set-Cookie"]


def test_cookie_is_kept_from_scripts_and_other_sites(console_app: Flask, key: Key) -> None:
    name, *attributes = cookie_of(console_app, key()).split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(attributes)
    assert "Secure" not in attributes


def test_cookie_is_secure_behind_a_trusted_proxy_with_tls(console_with: MakeApp, key: Key) -> None:
    app = console_with(TRUSTED_PROXIES="127.0.0.1")
    assert "Secure" in cookie_of(app, key(), **{"X-Forwarded-Proto": "https"}).split("; ")
    assert "Secure" not in cookie_of(app, key()).split("; ")


def test_nobody_else_says_that_a_request_came_over_tls(console_app: Flask, key: Key) -> None:
    assert "Secure" not in cookie_of(console_app, key(), **{"X-Forwarded-Proto": "https"}).split("; ")


def test_page_names_the_environment_and_the_operator(desk: Desk) -> None:
    page = desk.get("/")
    assert re.search(r"<title>.*· test</title>|<title>.*· development</title>", page.text)
    assert "ada (viewer)" in text_of(page)


def test_notice_is_told_once(desk: Desk, sql: Callable[..., Any]) -> None:
    sql("UPDATE operator_sessions SET notice = 'Retried <now>.'")
    assert '<p class="notice" data-notice>Retried &lt;now&gt;.</p>' in desk.get("/orders").text
    assert "Retried" not in desk.get("/orders").text


def test_current_page_is_marked_in_the_header(desk: Desk) -> None:
    assert re.search(r'href="/orders" aria-current="page"', desk.get("/orders").text)


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_view_is_reached_with_its_role_only(console_app: Flask, key: Key, role: str) -> None:
    token = Desk(console_app, key(role)).token()
    (worker,) = console_app.config["BACKGROUND"]
    handle = _handler(Page("GET", "/x", "operator", "x"), lambda _: "seen", worker.console)
    with console_app.test_request_context("/x", headers={"Cookie": f"{COOKIE}={token}"}):
        if role == "viewer":
            with pytest.raises(Forbidden):
                handle()
        else:
            assert handle() == "seen"


def test_every_page_of_the_header_has_a_key_of_its_own(console_app: Flask, key: Key) -> None:
    page = Desk(console_app, key("admin")).get("/").text
    keys = re.findall(r'<a data-key="(\w)"', page)
    assert len(keys) == len(set(keys)) == len(NAVIGATION)
    for one in keys:
        assert f"<dt><kbd>g</kbd> <kbd>{one}</kbd></dt>" in page
    assert "<dd>keys</dd>" not in Desk(console_app, key("viewer")).get("/").text


def test_documentation_has_the_keys_in_the_order_of_the_header() -> None:
    page = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\| `g`, then .*$", page, re.MULTILINE)
    assert " ".join(f"`{key}`" for _, _, key in NAVIGATION) in line
    assert re.sub(r" \(.*?\)", "", line).endswith(f"| {', '.join(label.lower() for _, label, _ in NAVIGATION)} |")


NOT_THERE = (404, 405)  # 405: any page can be asked for with GET


@pytest.mark.parametrize("bad", ["%00", "we_%00x", "we_1%0A", "x" * 65])
def test_path_with_an_id_that_cannot_be_is_not_found(console_app: Flask, key: Callable[..., str], bad: str) -> None:
    secret = key("admin")
    desk = Desk(console_app, secret)
    forms = ("enable", "disable", "test", "resend")
    assert desk.get(f"/webhooks/{bad}").status_code == 404
    for path in (*(f"/webhooks/{bad}/{form}" for form in forms), f"/keys/clients/{bad}/revoke"):
        assert desk.post(path).status_code in NOT_THERE, path
    client, headers = console_app.test_client(), {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k"}
    assert client.get(f"/api/webhook_endpoints/{bad}", headers=headers).status_code == 404
    for call in (f"client_keys/{bad}/rotate", f"client_keys/{bad}/revoke", f"operator_keys/{bad}/revoke"):
        assert client.post(f"/api/{call}", json={}, headers=headers).status_code in NOT_THERE, call


def test_database_that_is_lost_while_a_page_tells_what_was_done_gives_503(
    desk: Desk, sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of the error must not ask for the same again."""
    sql("UPDATE operator_sessions SET notice = 'The order is due now.'")

    def lost(*_: object) -> None:
        raise DatabaseUnavailable()

    monkeypatch.setattr(Operators, "note", lost)
    assert desk.get("/orders").status_code == 503
