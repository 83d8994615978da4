"""What every HTTP service has: one error shape, request ids, health checks and its documentation."""

from __future__ import annotations

import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from common.api import headers, openapi, request_span
from common.api.access import Guard
from common.api.client_address import Proxies
from common.api.documentation import add_documentation
from common.api.errors import (
    ApiError,
    BrokenHttp,
    Busy,
    DatabaseUnavailable,
    MalformedJson,
    NotFound,
    NotMigrated,
    PayloadTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from common.api.probes import probes
from common.api.routes import Api
from common.database import errors as database_errors
from common.database.database import Database
from common.database.errors import DatabaseBusy, RowsLocked, TransientDatabaseError
from common.process import logs, measures
from common.process.settings import Settings

API_VERSION = "1"  # not the release: anyone can read the document, and would know which faults the release has
MAX_BODY_BYTES = 64 * 1024  # the largest valid order, 50 lines, has about 5 KB
# A UUID, or one of our ids with a prefix. A card token or an API key has another form.
OUR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(auth|cap|re|evt|we)_[0-9A-Za-z]{24}")
UNEXPECTED = "An unexpected error occurred. To find it in the log, search for the request id."
log = logging.getLogger(__name__)
_KNOWN: dict[int, type[ApiError]] = {
    400: MalformedJson,
    404: NotFound,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    503: ServiceUnavailable,
}


class Service(Flask):
    """Flask without what our services do not use."""

    def ensure_sync(self, func: Any) -> Any:
        """Return it unchanged: no view is a coroutine. Flask would check six times a request."""
        return func


def create_service(
    name: str, api: Api, context: Any, settings: Settings, database: Database, guard: Guard, *, has_index: bool = True
) -> Flask:
    """A Flask application that serves `api`, and what every service serves.

    :param guard: checks the caller of each route that is not public
    :param has_index: False: `GET /` is a page of the service itself
    """
    logs.configure(name, settings.log_level, settings.log_format)
    app = Service(name, static_folder=None)
    app.url_map.strict_slashes = app.url_map.merge_slashes = False  # no redirects
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["PROXIES"] = Proxies(settings.trusted_proxies)
    app.config["IS_STOPPING"] = lambda: False  # gunicorn.conf.py replaces it
    app.config["POOL"], app.config["BREAKERS"] = database.usage, {}  # for the metrics
    app.config["BACKGROUND"] = ()  # threads that each worker starts and stops
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(_forget_request)
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(TransientDatabaseError, _database_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ParseException, lambda _: _api_error(BrokenHttp()))  # a chunk of the body
    app.register_error_handler(Exception, _unexpected_error)
    api.mount(app, context, guard)
    about = probes(name, api.title, has_index=has_index)
    about.mount(app, database, guard)
    document = openapi.document(api, about, API_VERSION)
    add_documentation(app, api, document)
    return app


def _begin() -> None:
    offered = request.headers.get("X-Request-ID", "")
    g.before = logs.request_id.set(offered if logs.may_be_request_id(offered) else str(uuid.uuid4()))
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = logs.request_id.get()
    response.headers.setdefault(*headers.NO_STORE)  # it is about an order, a key or a person
    response.headers.set(*headers.NO_SNIFF)
    if current_app.config["PROXIES"].is_https(request.environ):
        response.headers.set(*headers.ONLY_HTTPS)
    _measure(response)
    level = logging.DEBUG if request.path in ("/health", "/live") else logging.INFO
    if log.isEnabledFor(level):
        taken_ms = round((time.perf_counter() - g.started) * 1000, 1)
        extra = {"http_status": response.status_code, "took_ms": taken_ms, **_caller()}
        log.log(level, "%s %s", request.method, _path(), extra=extra)
    request_span.note_response(response)
    return response


def _measure(response: Response) -> None:
    route = request.url_rule.rule if request.url_rule else "(none)"
    is_waiting = "wait" in request.args  # on purpose, so its time says nothing about the service
    seconds = None if is_waiting else time.perf_counter() - g.started
    measures.request(route, request.method, response.status_code, seconds)


def _caller() -> dict[str, str]:
    """The caller: a client and the id of its key, or a service."""
    if "caller" not in g:
        return {}
    return {"caller": g.caller, "key_id": g.key_id} if "key_id" in g else {"caller": g.caller}


def _path() -> str:
    """The path for the log. A mistyped path, or one with something else in the place of an id, may hold a secret."""
    if request.url_rule is None:
        return "(no such path)"
    ids = (request.view_args or {}).values()
    return request.path if all(OUR_ID.fullmatch(str(id_)) for id_ in ids) else request.url_rule.rule


def _forget_request(_: BaseException | None) -> None:
    """Log lines between two requests belong to neither."""
    request_span.end()
    if "before" in g:
        logs.request_id.reset(g.before)


def _api_error(error: ApiError) -> tuple[Response, int, dict[str, str]]:
    if error.status >= 500:
        log.warning("answered %s: %s", error.code, error.__cause__ or error.message)
    return jsonify(error.body()), error.status, error.headers()


def _database_error(error: TransientDatabaseError) -> tuple[Response, int, dict[str, str]]:
    return _api_error(_database_refusal(error))


def _database_refusal(error: TransientDatabaseError) -> ApiError:
    refusals: dict[type[Exception], type[ApiError]] = {
        DatabaseBusy: ServiceUnavailable,
        RowsLocked: Busy,
        database_errors.NotMigrated: NotMigrated,
    }
    refusal = refusals.get(type(error), DatabaseUnavailable)()
    refusal.__cause__ = error.__cause__ or error
    return refusal


def refusal_of(error: Exception) -> ApiError:
    """What to tell the caller, where the answer is not JSON. Logs what an operator has to know."""
    if isinstance(error, TransientDatabaseError):
        error = _database_refusal(error)
    elif isinstance(error, HTTPException):
        error = _KNOWN.get(error.code or 500, ApiError)()
    elif not isinstance(error, ApiError):
        log.error("unexpected error", exc_info=error)
        return ApiError(UNEXPECTED)
    if error.status >= 500:
        log.warning("answered %s: %s", error.code, error.__cause__ or error.message)
    return error


def _http_error(error: HTTPException) -> Response:
    """Give the framework's own errors our shape, and keep their headers (Allow, Retry-After)."""
    code = error.code or 500
    if code < 400:  # a redirect is not an error
        return Response(status=code, headers=error.get_headers())
    if code in _KNOWN:
        body = _KNOWN[code]().body()
    else:
        phrase = HTTPStatus(code).phrase
        body = ApiError(f"{phrase}.").body() | {"error": re.sub(r"\W+", "_", phrase.lower())}
    response = jsonify(body)
    response.status_code = code
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _unexpected_error(error: Exception) -> tuple[Response, int, dict[str, str]]:
    log.error("unexpected error", exc_info=error)
    return _api_error(ApiError(UNEXPECTED))
