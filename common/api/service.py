"""What every HTTP service has: one error shape, request ids, health, its OpenAPI document and a page that shows it."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask import Flask, Response, g, jsonify, request, send_from_directory
from gunicorn.http.errors import ParseException
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import HTTPException

from common.api import openapi
from common.api.errors import (
    ApiError,
    BrokenHttp,
    DatabaseUnavailable,
    MalformedJson,
    NotFound,
    NotMigrated,
    PayloadTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from common.api.routes import Api, Reply
from common.database import errors as database_errors
from common.database.database import Database
from common.database.errors import DatabaseBusy, TransientDatabaseError
from common.process import logs
from common.process.settings import Settings

MAX_BODY_BYTES = 64 * 1024  # the largest valid order, 50 lines, has about 5 KB
log = logging.getLogger(__name__)

DOCS_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><script type="module" src="/docs/rapidoc-min.js"></script>
<style>rapi-doc::part(section-tag-title), rapi-doc::part(operation-divider) {{ display: none }}</style></head>
<body><rapi-doc spec-url="/openapi.json" render-style="read" show-header="false" load-fonts="false" theme="light"
 allow-spec-file-load="false" allow-spec-url-load="false" allow-server-selection="false"
 allow-authentication="{takes_api_key}"
 use-path-in-nav-bar="true" show-method-in-nav-bar="as-colored-text" sort-endpoints-by="none" primary-color="#2f6f9f"
 nav-bg-color="#f3f5f7" nav-text-color="#33404d" nav-accent-color="#2f6f9f" schema-description-expanded="true"
 allow-search="false" allow-advanced-search="false"
 regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace"></rapi-doc>
<noscript>This page needs JavaScript. The same in text: <a href="/openapi.json">/openapi.json</a></noscript>
</body></html>
"""


class Health(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["healthy", "unhealthy"]))
    service = fields.String(required=True)
    database = fields.String(required=True, validate=validate.OneOf(["connected", "disconnected", "not migrated"]))


class Life(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["alive"]))
    service = fields.String(required=True)


class Service(Flask):
    """Flask without what no service of ours has."""

    def ensure_sync(self, func: Any) -> Any:
        """As it is: no view is a coroutine. (Flask would look, six times a request.)"""
        return func


def create_service(name: str, api: Api, context: Any, settings: Settings, database: Database) -> Flask:
    """A Flask application that serves `api`, and what every service serves."""
    logs.configure(name, settings.log_level, settings.log_format)
    app = Service(name, static_folder=None)
    app.url_map.strict_slashes = app.url_map.merge_slashes = False  # no redirects
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["IS_STOPPING"] = lambda: False  # gunicorn.conf.py knows better
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(_forget_request)
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(TransientDatabaseError, _database_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ParseException, lambda _: _api_error(BrokenHttp()))  # a chunk of the body
    app.register_error_handler(Exception, _unexpected_error)
    api.mount(app, context)
    probes = _probes(name)
    probes.mount(app, database)
    _add_docs(app, api, openapi.document(api, probes, version("holdfast"), needs_api_key=bool(settings.api_keys)))
    return app


def _begin() -> None:
    offered = request.headers.get("X-Request-ID", "")
    request_id = offered if logs.WELL_FORMED_REQUEST_ID.fullmatch(offered) else str(uuid.uuid4())
    g.before = logs.request_id.set(request_id)
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = logs.request_id.get()
    level = logging.DEBUG if request.path in ("/health", "/live") else logging.INFO
    if log.isEnabledFor(level):
        taken_ms = round((time.perf_counter() - g.started) * 1000, 1)
        log.log(
            level,
            "%s %s",
            request.method,
            request.path if request.url_rule else "(no such path)",  # what was mistyped may be anything, a secret too
            extra={"http_status": response.status_code, "took_ms": taken_ms},
        )
    return response


def _forget_request(_: BaseException | None) -> None:
    """What this thread logs between two requests belongs to neither."""
    if "before" in g:
        logs.request_id.reset(g.before)


def _api_error(error: ApiError) -> tuple[Response, int, dict[str, str]]:
    if error.status >= 500:
        log.warning("answered %s: %s", error.code, error.__cause__ or error.message)
    return jsonify(error.body()), error.status, error.headers()


def _database_error(error: TransientDatabaseError) -> tuple[Response, int, dict[str, str]]:
    refusals: dict[type[Exception], type[ApiError]] = {
        DatabaseBusy: ServiceUnavailable,
        database_errors.NotMigrated: NotMigrated,
    }
    refusal = refusals.get(type(error), DatabaseUnavailable)()
    refusal.__cause__ = error.__cause__ or error
    return _api_error(refusal)


def _http_error(error: HTTPException) -> Response:
    """The framework's own refusals in our shape, with the headers they carry (Allow, Retry-After)."""
    code = error.code or 500
    if code < 400:  # a redirect is no error
        return Response(status=code, headers=error.get_headers())
    known = {
        400: MalformedJson,
        404: NotFound,
        413: PayloadTooLarge,
        415: UnsupportedMediaType,
        503: ServiceUnavailable,
    }
    if code in known:
        body = known[code]().body()
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
    return _api_error(ApiError("Something went wrong here. The request id leads to it in the log."))


def _probes(name: str) -> Api:
    """What a load balancer or an operator asks of the service called `name`."""
    probes = Api("Probes", "The same in every service.")

    @probes.route("GET", "/health", answer=Health, status=(200, 503), is_probe=True)
    def health(database: Database) -> Reply:
        """Whether the service can work: whether its database answers.

        Within 2 s, whatever state the database is in.
        """
        try:
            database.check()
        except TransientDatabaseError as error:
            state = "not migrated" if isinstance(error, database_errors.NotMigrated) else "disconnected"
            return Reply({"status": "unhealthy", "service": name, "database": state}, 503)
        return Reply({"status": "healthy", "service": name, "database": "connected"}, 200)

    @probes.route("GET", "/live", answer=Life, is_probe=True)
    def live(_: Database) -> dict[str, str]:
        """Whether the process answers at all; the database is not asked."""
        return {"status": "alive", "service": name}

    return probes


def _add_docs(app: Flask, api: Api, spec: dict[str, Any]) -> None:
    text = json.dumps(spec)  # jsonify would sort it, and put /health before what the service is for

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return Response(text, mimetype="application/json")

    @app.get("/docs")
    def docs() -> str:
        return DOCS_PAGE.format(title=api.title, takes_api_key=str(api.takes_api_key).lower())

    @app.get("/docs/rapidoc-min.js")
    def docs_script() -> Response:
        return send_from_directory(f"{__file__.rpartition('/')[0]}/static", "rapidoc-min.js", max_age=86_400)
