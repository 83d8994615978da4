"""Signing in and out."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from common.api.errors import Unauthorized
from console.context import Console
from console.operators import SESSION_S
from console.pages import COOKIE, is_https, page


@page("GET", "/sign-in", role=None)
def sign_in(_: Console) -> str:
    return render_template("sign_in.html", next=_next(), refused=False)


@page("POST", "/sign-in", role=None)
def sign_in_with_key(console: Console) -> str | Response | tuple[str, int]:
    try:
        token = console.operators.sign_in(request.form.get("key", "").strip())
    except Unauthorized:
        return render_template("sign_in.html", next=_next(), refused=True), 403
    return signed_in(token)


def signed_in(token: str) -> Response:
    """To the page that was asked for, with the session's cookie."""
    response = redirect(_next() or url_for(".overview"), 303)
    keep_session(response, token)
    return response


def keep_session(response: Response, token: str) -> None:
    """Let the browser keep a session. The cookie is sent with requests only that our own pages make."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_S,
        path=f"{request.script_root}/",
        secure=is_https(),
        httponly=True,
        samesite="Strict",
    )


@page("POST", "/sign-out", role="viewer")
def sign_out(console: Console) -> Response:
    console.operators.sign_out(request.cookies.get(COOKIE, ""))
    response = redirect(url_for(".sign_in"), 303)
    response.delete_cookie(COOKIE, path=f"{request.script_root}/")
    return response


def _next() -> str:
    return one_of_ours(request.values.get("next", ""))


def one_of_ours(wanted: str) -> str:
    """The path, if it is on our site. Otherwise empty: a sign-in must not lead to another site."""
    is_ours = wanted.startswith(f"{request.script_root}/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_ours and wanted.isprintable() and "\\" not in wanted else ""
