"""Signing in with an OpenID provider.

The way back from the provider is a navigation that another site began, so the browser sends no cookie that is
SameSite=Strict. What has to survive it is in a cookie of its own that is Lax, for ten minutes and for these pages only.
The session's cookie stays Strict. Our page sets it, and then opens the next page by itself. Our own site began that
navigation, so the browser sends the cookie.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from flask import Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from common.api.errors import NotFound
from console.context import Console
from console.errors import SignInRefused
from console.pages import is_https, page
from console.session_pages import keep_session, one_of_ours

if TYPE_CHECKING:
    from console.oidc import Attempt, Provider

COOKIE = "holdfast_sign_in"
ATTEMPT_S = 600
NOW = "SELECT extract(epoch FROM now())::bigint AS at"


@page("GET", "/sign-in/provider", role=None)
def sign_in_elsewhere(console: Console) -> AnyResponse:
    """Send the browser to the provider."""
    from console.oidc import Attempt  # noqa: PLC0415  # only when it is used

    attempt, provider = Attempt(), _provider(console)
    response = redirect(provider.address(attempt, _redirect_uri()), 303)
    wanted = one_of_ours(request.args.get("next", ""))
    response.set_cookie(
        COOKIE,
        _packed(attempt, wanted),
        max_age=ATTEMPT_S,
        path=_path(),
        secure=is_https(),
        httponly=True,
        samesite="Lax",
    )
    return response


@page("GET", "/sign-in/provider/back", role=None)
def back_from_provider(console: Console) -> Response:
    """Where the provider sends the browser: begin a session, if this browser began the sign-in."""
    provider = _provider(console)
    attempt, wanted = _unpacked(request.cookies.get(COOKIE, ""))
    if not hmac.compare_digest(attempt.state.encode(), request.args.get("state", "").encode()):
        raise SignInRefused()
    if "code" not in request.args:
        raise SignInRefused("The provider has not signed you in.")
    now = console.database.one(NOW) or {}
    operator, account = provider.operator(request.args["code"], attempt, _redirect_uri(), now["at"])
    token = console.operators.begin_session(operator, None, **account._asdict())
    response = make_response(render_template("signed_in.html", next=wanted or url_for(".overview")))
    response.delete_cookie(COOKIE, path=_path())
    keep_session(response, token)
    return response


def _provider(console: Console) -> Provider:
    """:raises NotFound: there is none"""
    if console.provider is None:
        raise NotFound()
    return console.provider


def _path() -> str:
    return f"{request.script_root}/sign-in/provider"


def _redirect_uri() -> str:
    """As it is registered at the provider, which refuses any other."""
    scheme = "https" if is_https() else "http"
    return str(current_app.url_for("pages.back_from_provider", _external=True, _scheme=scheme))


def _packed(attempt: Attempt, wanted: str) -> str:
    text = json.dumps([attempt.state, attempt.nonce, attempt.verifier, wanted])
    return urlsafe_b64encode(text.encode()).decode()


def _unpacked(cookie: str) -> tuple[Attempt, str]:
    """:raises SignInRefused: this browser has not begun a sign-in, or too long ago"""
    from console.oidc import Attempt  # noqa: PLC0415  # as above

    try:
        state, nonce, verifier, wanted = map(str, json.loads(urlsafe_b64decode(cookie)))
    except (ValueError, TypeError):
        raise SignInRefused("The sign-in took too long, or began in another browser. Begin again.") from None
    return Attempt(state, nonce, verifier), one_of_ours(wanted)
