"""Keys in the console: for admins only, shown once, and never without an admin."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from flask import Flask

from common.credentials import client_keys, operator_keys
from tests.at_once import at_once
from tests.console.desk import Desk, id_of, text_of
from tests.console.shelves import admin, operator, record, viewer
from tests.waiting import eventually

__all__ = ["admin", "operator", "record", "viewer"]  # fixtures

Sql = Callable[..., list[dict[str, Any]]]
TEXT = re.compile(r">(hfo?_[0-9a-z]{16}_[0-9A-Za-z]{43})<")
NEW = {"client": "till", "scopes": ["orders:read", "orders:write"], "key": "one"}
WAITING = "SELECT 1 AS one FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'console'"
ALL = "SELECT id, client, scopes, expires_at, revoked_at FROM client_keys WHERE client = 'till' ORDER BY created_at"


@pytest.fixture(autouse=True)
def no_other_keys(sql: Sql) -> None:
    """Tests keep the keys of clients, as the services remember them."""
    sql("DELETE FROM client_keys WHERE client <> 'shop'")


def shown_key(answer: Any) -> str:
    (found,) = TEXT.findall(answer.text)
    return str(found)


@pytest.mark.parametrize("who", ["viewer", "operator"])
def test_only_admins_see_and_change_keys(who: str, request: pytest.FixtureRequest, sql: Sql) -> None:
    desk: Desk = request.getfixturevalue(who)
    id_ = sql("SELECT id FROM operator_keys")[0]["id"]
    assert desk.get("/keys").status_code == 403
    assert ">Keys</a>" not in desk.get("/orders").text
    for path in ("clients", f"clients/{id_}/rotate", f"clients/{id_}/revoke", "operators", f"operators/{id_}/revoke"):
        assert desk.post(f"/keys/{path}", **NEW, name="eve", role="admin").status_code == 403
    assert (sql(ALL), sql("SELECT 1 AS one FROM operator_keys WHERE revoked_at IS NOT NULL OR name = 'eve'")) == (
        [],
        [],
    )


def test_admin_sees_the_page_in_the_header(admin: Desk) -> None:
    assert ">Keys</a>" in admin.get("/orders").text
    assert admin.get("/keys").status_code == 200


def test_new_key_works_and_is_shown_once(admin: Desk, sql: Sql, record: Sql) -> None:
    made = admin.post("/keys/clients", **NEW)
    key = shown_key(made)
    assert (made.status_code, made.headers["Cache-Control"]) == (200, "no-store")
    id_, secret = client_keys.parts(key) or ("", "")
    (row,) = sql("SELECT secret_sha256, scopes FROM client_keys WHERE id = %(id)s", id=id_)
    assert (bytes(row["secret_sha256"]), row["scopes"]) == (client_keys.digest(secret), NEW["scopes"])
    assert secret not in admin.get("/keys").text
    assert id_ in admin.get("/keys").text
    again = admin.post("/keys/clients", **NEW)
    assert (again.status_code, TEXT.findall(again.text)) == (200, [])
    assert f"The key {id_} was made once" in text_of(again)
    assert len(sql(ALL)) == 1
    (noted,) = record("keys.")
    assert (noted["actor"], noted["action"], noted["details"]["key"]) == ("ada", "keys.create", id_)


def test_text_of_a_key_is_stored_nowhere(admin: Desk, sql: Sql) -> None:
    _, secret = client_keys.parts(shown_key(admin.post("/keys/clients", **NEW))) or ("", "")
    for table in ("edge_idempotency_keys", "operator_log", "operator_sessions", "client_keys"):
        assert secret not in str(sql(f"SELECT t.*::text AS row FROM {table} t"))


def test_form_that_is_sent_at_the_same_moment_makes_one_key_that_is_shown_once(
    console_app: Flask, key: Callable[..., str], sql: Sql
) -> None:
    desks = [Desk(console_app, key("admin", name="ada")) for _ in range(4)]
    answers = at_once([lambda desk=desk: desk.post("/keys/clients", **NEW) for desk in desks])
    assert len(sql(ALL)) == 1
    assert sum(len(TEXT.findall(answer.text)) for answer in answers) == 1


@pytest.mark.parametrize("changes", [
    {"client": "-till"}, {"client": ""}, {"client": "a b"}, {"scopes": []}, {"scopes": ["everything"]},
    {"expires_at": "tomorrow"}, {"expires_at": "2020-01-01T00:00"}, {"key": ""},
])  # fmt: skip
def test_bad_form_makes_no_key(admin: Desk, sql: Sql, changes: dict[str, Any]) -> None:
    refused = admin.post("/keys/clients", **{**NEW, **changes})
    assert (refused.status_code, "Not done." in refused.text) == (400, True)
    assert sql(ALL) == []
    assert admin.post("/keys/clients", **NEW).status_code == 200  # the key of the form stays free


def test_key_ends_when_the_form_says_in_utc(admin: Desk, sql: Sql) -> None:
    admin.post("/keys/clients", **NEW, expires_at="2100-01-31T10:30")
    assert sql(ALL)[0]["expires_at"].isoformat() == "2100-01-31T10:30:00+00:00"


def test_rotated_key_and_its_successor_both_work_for_a_day(admin: Desk, sql: Sql, record: Sql) -> None:
    old = client_keys.parts(shown_key(admin.post("/keys/clients", **NEW))) or ("", "")
    new = shown_key(admin.post(f"/keys/clients/{old[0]}/rotate", key="two"))
    assert TEXT.findall(admin.post(f"/keys/clients/{old[0]}/rotate", key="two").text) == []
    first, second = sql(ALL)
    assert (first["id"], first["scopes"]) == (old[0], second["scopes"])
    assert second["id"] == (client_keys.parts(new) or ("",))[0]
    (left,) = sql("SELECT expires_at - now() BETWEEN '23 h' AND '24 h' AS a_day FROM client_keys WHERE id = %(id)s",
                  id=old[0])  # fmt: skip
    assert left["a_day"]
    assert [row["action"] for row in record("keys.")] == ["keys.create", "keys.create", "keys.rotate"]
    near = admin.post(f"/keys/clients/{old[0]}/rotate", key="three")
    assert (near.status_code, "rotate its successor" in near.text) == (400, True)
    assert f"Key {old[0]} ends at " in text_of(near)


def test_key_is_revoked_once(admin: Desk, sql: Sql, record: Sql) -> None:
    id_ = (client_keys.parts(shown_key(admin.post("/keys/clients", **NEW))) or ("",))[0]
    for _ in range(2):
        assert admin.post(f"/keys/clients/{id_}/revoke", key="two").headers["Location"] == "/keys"
    assert f"{id_} of till is revoked" in admin.get("/keys").text
    assert sql(ALL)[0]["revoked_at"]
    refused = admin.post(f"/keys/clients/{id_}/revoke", key="three")
    assert (refused.status_code, f"{id_} is revoked already." in text_of(refused)) == (409, True)
    unknown = admin.post("/keys/clients/nothing/revoke", key="four")
    assert (unknown.status_code, "nothing is not the id of a key" in text_of(unknown)) == (409, True)
    assert admin.post(f"/keys/clients/{id_}/rotate", key="five").status_code == 409
    assert [row["action"] for row in record("keys.")] == ["keys.create", "keys.revoke"]


def test_ended_keys_are_shown_on_demand(admin: Desk) -> None:
    id_ = (client_keys.parts(shown_key(admin.post("/keys/clients", **NEW))) or ("",))[0]
    admin.post(f"/keys/clients/{id_}/revoke", key="two")
    admin.get("/keys")  # tells what was done
    assert id_ not in admin.get("/keys").text
    assert id_ in admin.get("/keys", with_ended="true").text


def test_lists_go_page_by_page(console_app: Flask, key: Callable[..., str], sql: Sql) -> None:
    client, headers = console_app.test_client(), {"Authorization": f"Bearer {key('admin', name='a')}"}
    for name in ("b", "c"):
        key(name=name)
    seen, query = [], {"limit": "2"}
    for _ in range(2):
        answer = client.get("/api/operator_keys", query_string=query, headers=headers).json
        seen += [each["name"] for each in answer["operator_keys"]]
        query["cursor"] = answer["next_cursor"]
    assert (seen, answer["next_cursor"]) == (["a", "b", "c"], None)
    listed = client.get("/api/client_keys", headers=headers).json["client_keys"]
    assert [each["client"] for each in listed] == ["shop"]
    assert "sha256" not in str(listed)


def test_new_operator_signs_in_with_the_key_that_is_shown(admin: Desk, console_app: Flask, record: Sql) -> None:
    made = admin.post("/keys/operators", name="grace", role="operator", key="one")
    key = shown_key(made)
    assert made.headers["Cache-Control"] == "no-store"
    assert "grace <small>(operator)" in Desk(console_app, key).get("/orders").text
    assert TEXT.findall(admin.post("/keys/operators", name="grace", role="operator", key="one").text) == []
    (noted,) = record("operators.")
    assert (noted["actor"], noted["details"]["name"], noted["details"]["role"]) == ("ada", "grace", "operator")


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": "a b"}, {"role": "root"}, {"expires_at": "2020-01-01T00:00"}]
)
def test_bad_operator_makes_no_key(admin: Desk, sql: Sql, changes: dict[str, str]) -> None:
    form = {"name": "grace", "role": "viewer", "key": "one"} | changes
    assert admin.post("/keys/operators", **form).status_code == 400
    assert len(sql("SELECT 1 AS one FROM operator_keys")) == 1


def test_revoked_operator_is_signed_out(admin: Desk, console_app: Flask, key: Callable[..., str]) -> None:
    other = key("operator", name="oscar")
    desk = Desk(console_app, other)
    assert desk.get("/orders").status_code == 200
    assert admin.post(f"/keys/operators/{id_of(other)}/revoke", key="one").status_code == 303
    assert desk.get("/orders").status_code == 303
    assert admin.post(f"/keys/operators/{id_of(other)}/revoke", key="two").status_code == 409


@pytest.mark.parametrize("others", ["none", "a viewer", "a revoked admin", "an expired admin"])
def test_last_key_of_an_admin_cannot_be_revoked(
    console_app: Flask, key: Callable[..., str], sql: Sql, others: str
) -> None:
    last = key("admin", name="ada")
    if others == "a viewer":
        key("viewer", name="vera")
    elif others != "none":
        column = "revoked_at" if others == "a revoked admin" else "expires_at"
        sql(f"UPDATE operator_keys SET {column} = now() WHERE id = %(id)s", id=id_of(key("admin", name="grace")))
    refused = Desk(console_app, last).post(f"/keys/operators/{id_of(last)}/revoke", key="one")
    assert (refused.status_code, "the last valid key of an admin" in refused.text) == (409, True)
    assert Desk(console_app, last).is_signed_in


def test_two_admins_who_revoke_each_other_leave_one(
    console_app: Flask, key: Callable[..., str], sql: Sql, url: str
) -> None:
    """Grace's key is being revoked, and she revokes Ada's: she waits, and then Ada's is the last one."""
    ada, grace = key("admin", name="ada"), key("admin", name="grace")
    desk = Desk(console_app, grace)
    with closing(psycopg2.connect(url)) as other, ThreadPoolExecutor(1) as thread:
        with other.cursor() as cursor:
            cursor.execute("UPDATE operator_keys SET revoked_at = now() WHERE id = %s", [id_of(grace)])
        answer = thread.submit(desk.post, f"/keys/operators/{id_of(ada)}/revoke", key="one")
        eventually(lambda: answer.done() or sql(WAITING))
        other.commit()
        refused = answer.result()
    assert (refused.status_code, "the last valid key of an admin" in refused.text) == (409, True)
    assert [row["name"] for row in sql("SELECT name FROM operator_keys WHERE revoked_at IS NULL")] == ["ada"]


def test_api_makes_a_key_once(console_app: Flask, key: Callable[..., str]) -> None:
    client = console_app.test_client()
    headers = {"Authorization": f"Bearer {key('admin')}", "Idempotency-Key": "one"}
    body = {"client": "till", "scopes": ["orders:read"]}
    made = client.post("/api/client_keys", json=body, headers=headers)
    again = client.post("/api/client_keys", json=body, headers=headers)
    assert (made.status_code, again.status_code) == (201, 201)
    assert client_keys.parts(made.json["text"])
    assert again.json == {"id": made.json["id"], "text": None}
    rotated = client.post(
        f"/api/client_keys/{made.json['id']}/rotate", json={}, headers=headers | {"Idempotency-Key": "2"}
    )
    assert client_keys.parts(rotated.json["text"])
    path = f"/api/client_keys/{made.json['id']}/revoke"
    assert client.post(path, headers=headers | {"Idempotency-Key": "3"}).json == {
        "id": made.json["id"],
        "revoked": True,
    }
    operator = client.post(
        "/api/operator_keys", json={"name": "eve", "role": "viewer"}, headers=headers | {"Idempotency-Key": "4"}
    ).json
    assert operator_keys.parts(operator["text"])
    viewer = {"Authorization": f"Bearer {operator['text']}"}
    for path in ("/api/client_keys", "/api/operator_keys"):
        assert client.get(path, headers=viewer).status_code == 403
    ended = client.post(f"/api/operator_keys/{operator['id']}/revoke", headers=headers | {"Idempotency-Key": "5"})
    assert ended.json["revoked"]
    assert client.get("/api/orders", headers=viewer).status_code == 401
