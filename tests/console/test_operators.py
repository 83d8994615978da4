"""Who is let in: keys and sessions, how they end, and what a role may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from common.credentials import operator_keys
from console.pages import COOKIE
from tests.console.desk import Desk, id_of
from tests.credentials import EDGE_KEY, new_key

Key = Callable[..., str]
Sql = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize(("role", "needed", "may"), [
    ("viewer", "viewer", True), ("viewer", "operator", False), ("viewer", "admin", False),
    ("operator", "viewer", True), ("operator", "operator", True), ("operator", "admin", False),
    ("admin", "viewer", True), ("admin", "operator", True), ("admin", "admin", True),
])  # fmt: skip
def test_role_covers_those_below_it(role: str, needed: str, may: bool) -> None:
    assert operator_keys.covers(role, needed) is may


def test_key_of_an_operator_opens_the_api(console_app: Flask, key: Key) -> None:
    answer = console_app.test_client().get("/api/orders", headers={"Authorization": f"Bearer {key()}"})
    assert (answer.status_code, answer.json) == (200, {"orders": [], "next_cursor": None})


def test_other_keys_are_refused(console_app: Flask, key: Key, sql: Sql) -> None:
    good, revoked, expired = key(), key(), key()
    sql("UPDATE operator_keys SET revoked_at = now() WHERE id = %(id)s", id=id_of(revoked))
    sql("UPDATE operator_keys SET expires_at = now() WHERE id = %(id)s", id=id_of(expired))
    wrong = operator_keys.as_text(id_of(good), revoked.rpartition("_")[2])
    unknown = new_key().replace("hf_", "hfo_")
    for refused in (revoked, expired, wrong, unknown, EDGE_KEY, good.replace("hfo_", "hf_"), f"{good}x", "", "ü"):
        answer = console_app.test_client().get("/api/orders", headers={"Authorization": f"Bearer {refused}"})
        assert (answer.status_code, answer.json["error"]) == (401, "unauthorized"), refused
        signed_in = Desk(console_app).sign_in(refused)
        assert signed_in.status_code == 403
        assert "unknown, revoked or expired" in signed_in.text
        assert COOKIE not in signed_in.headers.get("Set-Cookie", "")


def test_session_lasts_until_it_ends(desk: Desk, sql: Sql) -> None:
    assert desk.is_signed_in
    (kept,) = sql("SELECT expires_at - created_at AS lasts, name, role FROM operator_sessions")
    assert (kept["lasts"].total_seconds(), kept["name"], kept["role"]) == (12 * 3600, "ada", "viewer")
    sql("UPDATE operator_sessions SET expires_at = now()")
    assert not desk.is_signed_in


def test_token_of_a_session_is_not_stored(desk: Desk, sql: Sql) -> None:
    assert desk.token()
    assert desk.token() not in str(sql("SELECT token_sha256::text, s.* FROM operator_sessions s"))


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now()"])
def test_end_of_a_key_ends_its_sessions_at_once(console_app: Flask, key: Key, sql: Sql, end: str) -> None:
    first, other = Desk(console_app, key()), Desk(console_app, key(name="grace"))
    sql(f"UPDATE operator_keys SET {end} WHERE name = 'ada'")
    assert (first.is_signed_in, other.is_signed_in) == (False, True)


def test_deleted_key_ends_its_sessions(desk: Desk, sql: Sql) -> None:
    sql("DELETE FROM operator_keys")
    assert not desk.is_signed_in


def test_role_of_the_key_holds_for_its_sessions(desk: Desk, sql: Sql) -> None:
    assert "(viewer" in desk.get("/").text
    sql("UPDATE operator_keys SET role = 'admin'")
    assert "(admin" in desk.get("/").text


def test_sign_out_ends_the_session_and_no_other(console_app: Flask, key: Key) -> None:
    own = key()
    here, there = Desk(console_app, own), Desk(console_app, own)
    token = here.token()
    answer = here.post("/sign-out")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert here.token() == ""
    here.client.set_cookie(COOKIE, token)
    assert (here.is_signed_in, there.is_signed_in) == (False, True)


def test_sign_in_and_sign_out_are_recorded(desk: Desk, sql: Sql) -> None:
    desk.post("/sign-out")
    found = sql("SELECT actor, action FROM operator_log WHERE action LIKE 'console.%%' ORDER BY at DESC LIMIT 2", x=1)
    assert found == [{"actor": "ada", "action": f"console.sign_{way}"} for way in ("out", "in")]


def test_each_sign_in_makes_a_new_session(desk: Desk, key: Key) -> None:
    before = desk.token()
    desk.sign_in(key())
    assert desk.token() not in ("", before)


def test_ended_sessions_are_deleted_at_a_sign_in(console_app: Flask, desk: Desk, key: Key, sql: Sql) -> None:
    sql("UPDATE operator_sessions SET expires_at = now() - interval '1 s'")
    Desk(console_app, key(name="grace"))
    assert [row["name"] for row in sql("SELECT name FROM operator_sessions")] == ["grace"]


def test_use_of_a_key_is_written_once_a_minute(console_app: Flask, key: Key, sql: Sql) -> None:
    headers = {"Authorization": f"Bearer {key()}"}

    def use() -> dict[str, Any]:
        console_app.test_client().get("/api/orders", headers=headers)
        return sql("SELECT last_used_at, xmin::text FROM operator_keys")[0]

    first = use()
    assert first["last_used_at"]
    assert use() == first
    sql("UPDATE operator_keys SET last_used_at = now() - interval '61 s'")
    assert use()["last_used_at"] > first["last_used_at"]


@pytest.mark.parametrize("cookie", ["", "x", "ü" * 50, "a" * 4000, "' OR true --"])
def test_odd_cookies_are_no_session(console_app: Flask, desk: Desk, cookie: str) -> None:
    stranger = console_app.test_client()
    answer = stranger.get("/", headers={"Cookie": f"{COOKIE}={cookie}".encode().decode("latin-1")})
    assert answer.status_code == 303
