"""The pages of the console: who may see each, and what a browser is told about them.

Every page is declared with `page`, which checks the session and the role. Nothing reaches a view without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from hashlib import sha256
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, g, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from common.api.errors import ApiError, Forbidden, NotFound, Unauthorized
from common.api.service import refusal_of
from common.credentials.operator_keys import ROLES
from common.database.errors import TransientDatabaseError
from console import formats
from console.context import Console
from console.operators import Operator

COOKIE = "holdfast_session"
# No inline script or style anywhere, and no page may be shown in the frame of another.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",  # without any, a browser would not say where a form comes from
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Cross-Origin-Opener-Policy": "same-origin",
}
NAVIGATION = (
    ("overview", "Overview", "h"),
    ("order_list", "Orders", "o"),
    ("attention_page", "Attention", "a"),
    ("product_list", "Products", "p"),
    ("webhook_list", "Webhooks", "w"),
    ("job_list", "Jobs", "j"),
    ("key_list", "Keys", "k"),
    ("audit_page", "Audit", "u"),
    ("record_page", "Record", "r"),
)
"""The pages of the header, in its order, with the key that opens each after `g`.

An operator sees those of their role.
"""
VIEWS = (
    "console.overview",
    "console.order_pages",
    "console.action_pages",
    "console.job_pages",
    "console.watch_pages",
    "console.product_pages",
    "console.endpoint_pages",
    "console.key_pages",
    "console.session_pages",
    "console.oidc_pages",
)
"""The modules that declare pages."""
View = Callable[..., str | AnyResponse | tuple[str, int]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """One page, for the test that tries each with each role. No role: anyone may see it."""

    method: str
    path: str
    role: str | None
    name: str


PAGES: list[Page] = []
_views: list[tuple[Page, View]] = []


def page(method: str, path: str, *, role: str | None) -> Callable[[View], View]:
    """Declare a page. Its view gets the console, and the ids in its path."""

    def declare(view: View) -> View:
        declared = Page(method, path, role, view.__name__)
        PAGES.append(declared)
        _views.append((declared, view))
        return view

    return declare


def all_pages() -> Sequence[Page]:
    """Every page, as its module declares it."""
    for module in VIEWS:
        import_module(module)
    return PAGES


def add_pages(app: Flask, console: Console) -> None:
    all_pages()
    pages = Blueprint("pages", __name__, static_folder="static", template_folder="templates", static_url_path="/static")
    for declared, view in _views:
        pages.add_url_rule(
            declared.path,
            endpoint=declared.name,
            view_func=_handler(declared, view, console),
            methods=[declared.method],
            provide_automatic_options=False,
        )
    for kind in (ApiError, TransientDatabaseError, HTTPException, Exception):
        pages.register_error_handler(kind, _error_page)
    pages.after_request(_harden)
    app.jinja_env.filters.update(formats.FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(lambda: _common(console))
    app.register_blueprint(pages)


def live(body: str, mimetype: str = "text/html") -> Response:
    """A part of a page that is asked for again and again: 304 while it has not changed."""
    response = Response(body, mimetype=mimetype)
    response.set_etag(sha256(body.encode()).hexdigest()[:32])
    response.make_conditional(request)
    return response


def operator() -> Operator:
    """The operator who sent this request."""
    found: Operator = g.operator
    return found


def may_act(console: Console) -> bool:
    """Whether the page shows what changes something."""
    found: Operator | None = g.get("operator")
    return found is not None and found.may("operator") and not console.operators.is_read_only


def is_https() -> bool:
    return bool(current_app.config["PROXIES"].is_https(request.environ))


def _handler(declared: Page, view: View, console: Console) -> View:
    @wraps(view)
    def handle(**path: Any) -> str | AnyResponse | tuple[str, int]:
        if declared.method != "GET":
            _check_origin()
        if declared.role:
            found = console.operators.by_session(request.cookies.get(COOKIE, ""))
            if found is None:
                return _to_sign_in(declared)
            g.caller = found.name
            console.operators.check(found, declared.role)
        return view(console, **{name: str(value) for name, value in path.items()})

    return handle


def _to_sign_in(declared: Page) -> AnyResponse:
    """:raises Unauthorized: a form that was sent after the session had ended must not be lost in silence"""
    if declared.method != "GET" or request.headers.get("HX-Request"):
        raise Unauthorized("Your session has ended. Sign in again.")
    return redirect(url_for("pages.sign_in", next=f"{request.script_root}{request.full_path}".rstrip("?")), 303)


def _check_origin() -> None:
    """:raises Forbidden: another site sends this form

    Browsers say where a request comes from, and scripts of other sites cannot change that. SameSite=Strict keeps the
    cookie away from most of them already.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in (None, "same-origin"):
        raise Forbidden("This form was sent by another site.")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Forbidden("This form was sent by another site.")
    if site is None and origin is None:
        raise Forbidden("The browser does not say which site this form comes from.")


def _common(console: Console) -> dict[str, Any]:
    return {
        "environment": console.settings.app_env,
        "operator": g.get("operator"),
        "is_read_only": console.operators.is_read_only,
        "has_provider": console.provider is not None,
        "navigation": _navigation(),
        "may_act": may_act(console),
        "get_notice": lambda: _notice(console),
        "server_time": datetime.now(UTC),
    }


def _navigation() -> list[tuple[str, str, str]]:
    found: Operator | None = g.get("operator")
    roles = {each.name: each.role for each in PAGES}
    return [entry for entry in NAVIGATION if found and found.may(roles[entry[0]] or ROLES[0])]


def tell(console: Console, notice: str) -> None:
    """Say what an action did, on the next page."""
    console.operators.note(request.cookies.get(COOKIE, ""), notice)


def _notice(console: Console) -> str | None:
    found: Operator | None = g.get("operator")
    if found is None or found.notice is None:
        return None
    console.operators.note(request.cookies.get(COOKIE, ""), None)
    return found.notice


def _harden(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.set(name, value)
    return response


def _error_page(error: Exception) -> Response:
    refusal = refusal_of(error)
    # A form that got no answer can be sent once more, with its key.
    again = MultiDict(request.form) if refusal.status == 503 and "key" in request.form else None
    # Without the notice of the page before: it is in the database, which may be what failed.
    page = render_template("error.html", refusal=refusal, again=again, get_notice=lambda: None)
    response = make_response(page, refusal.status)
    response.headers.update(refusal.headers())
    response.headers.pop("WWW-Authenticate", None)  # the browser would ask for a password
    return response


@page("GET", "/<path:path>", role=None)
def no_such_page(_: Console, path: str) -> AnyResponse:
    """For programs in their own form."""
    if path.startswith("api/"):
        return make_response(NotFound().body(), NotFound.status)
    raise NotFound()
