"""The page about keys, for admins."""

from __future__ import annotations

from collections.abc import Callable

from flask import make_response, render_template, request, url_for
from werkzeug.wrappers import Response

from common.api.errors import ApiError
from common.api.routes import load
from common.credentials import client_keys, operator_keys
from common.database.database import Row
from console import forms, keys, sessions
from console import key_schemas as schemas
from console.context import Console
from console.keys import By, Made
from console.pages import operator, page

Answer = str | Response | tuple[str, int]


@page("GET", "/keys", role="admin")
def key_list(console: Console) -> str:
    return render_template("keys.html", **_values(console), key=forms.new_key())


@page("POST", "/keys/clients", role="admin")
def make_client_key(console: Console) -> Answer:
    def work() -> Made:
        sent = {"client": forms.text("client"), "scopes": request.form.getlist("scopes"), "expires_at": _expires_at()}
        return keys.create_client_key(console.database, _by(), **load(schemas.NewClientKey(), sent))

    return _made(console, work)


@page("POST", "/keys/clients/<text:key_id>/rotate", role="admin")
def replace_client_key(console: Console, key_id: str) -> Answer:
    def work() -> Made:
        sent = load(schemas.Rotation(), {"expires_at": _expires_at()})
        return keys.rotate_client_key(console.database, _by(), key_id, sent["expires_at"])

    return _made(console, work)


@page("POST", "/keys/clients/<text:key_id>/revoke", role="admin")
def end_client_key(console: Console, key_id: str) -> Answer:
    def work() -> str:
        done = keys.revoke_client_key(console.database, _by(), key_id)
        text = f"{key_id} of {done.result['client']} is revoked. It stops working within a minute."
        return forms.outcome(done, text)

    return _told(console, work)


@page("POST", "/keys/operators", role="admin")
def make_operator_key(console: Console) -> Answer:
    def work() -> Made:
        sent = {"name": forms.text("name"), "role": forms.text("role"), "expires_at": _expires_at()}
        return keys.create_operator_key(console.database, _by(), **load(schemas.NewOperatorKey(), sent))

    return _made(console, work)


@page("POST", "/keys/operators/<text:key_id>/revoke", role="admin")
def end_operator_key(console: Console, key_id: str) -> Answer:
    def work() -> str:
        done = keys.revoke_operator_key(console.database, _by(), key_id)
        text = f"{key_id} of {done.result['name']} is revoked. It and its sessions have stopped working."
        return forms.outcome(done, text)

    return _told(console, work)


@page("POST", "/keys/sessions/end", role="admin")
def end_sessions_form(console: Console) -> Answer:
    def work() -> str:
        name = load(schemas.EndSessions(), {"name": forms.text("name")})["name"]
        done = sessions.end(console.database, operator().name, forms.key(), name)
        jobs = f" {done.result['jobs']} of its jobs are stopped." if done.result["jobs"] else ""
        return forms.outcome(done, f"{done.result['sessions']} sessions of {name} have ended.{jobs}")

    return _told(console, work)


def _made(console: Console, work: Callable[[], Made]) -> Answer:
    """The page that shows a new key, once. It answers the form itself: a redirect would have to store the key."""
    try:
        made = work()
    except ApiError as error:
        return forms.refused(error, "keys.html", **_values(console))
    response = make_response(render_template("key_made.html", made=made))
    response.headers["Cache-Control"] = "no-store"
    return response


def _told(console: Console, work: Callable[[], str]) -> Answer:
    return forms.answer(console, work, url_for(".key_list"), "keys.html", lambda: _values(console))


def _by() -> By:
    return By(operator().name, forms.key())


def _expires_at() -> str | None:
    return forms.moment(forms.text("expires_at")) or None


def _values(console: Console) -> Row:
    """What the page shows: each list has its own cursor."""
    with_ended = request.args.get("with_ended") == "true"
    query = {"limit": schemas.MAX_PAGE, "with_ended": with_ended}
    of_clients = keys.client_keys_page(console.database, query | _cursor("clients_after"))
    of_operators = keys.operator_keys_page(console.database, query | _cursor("operators_after"))
    return {
        "client_keys": of_clients["client_keys"],
        "more_clients": of_clients["next_cursor"],
        "operator_keys": of_operators["operator_keys"],
        "more_operators": of_operators["next_cursor"],
        "with_ended": with_ended,
        "sessions": sessions.names(console.database),
        "scopes": client_keys.SCOPES,
        "roles": operator_keys.ROLES,
    }


def _cursor(name: str) -> Row:
    given = request.args.get(name, "")
    return {"cursor": given} if given.isalnum() else {}
