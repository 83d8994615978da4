"""The OpenAPI 3 document of a service, generated from its routes and schemas."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema, fields

from common.api import errors
from common.api.access import Access, Callers, Scope, Signed
from common.api.paths import openapi_path
from common.api.routes import Api, Operation
from common.process import logs

# The errors that every route can return.
ALWAYS = (errors.ServiceUnavailable, errors.Busy, errors.DatabaseUnavailable, errors.NotMigrated)
WITH_BODY = (
    errors.ValidationFailed,
    errors.MalformedJson,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
)
WITH_KEY = (
    errors.MissingIdempotencyKey,
    errors.IdempotencyKeyReused,
    errors.RequestInProgress,
    errors.RequestExpired,
)
# Header → its schema and its meaning.
HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Request-ID": (
        {"type": "string", "pattern": f"^{logs.WELL_FORMED_REQUEST_ID.pattern}$"},
        "The caller's own if it sent a well-formed one, else a new one. It is on every log line of the request.",
    ),
    "Idempotency-Replayed": (
        {"type": "string", "enum": ["true"]},
        "Set if this is the stored first response, and nothing was done this time.",
    ),
    "Retry-After": (
        {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "The same request may be sent again after this many seconds.",
    ),
    "WWW-Authenticate": ({"type": "string"}, "How to send a credential."),
}
Headers = dict[str, dict[str, Any]]


class Error(Schema):
    error = fields.String(required=True)
    message = fields.String(required=True)
    details = fields.Dict(keys=fields.String())
    request_id = fields.String(required=True)


def document(api: Api, probes: Api, version: str) -> dict[str, Any]:
    """The document as JSON-ready data."""
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: _class_of(schema).__name__)
    spec = APISpec(
        title=api.title,
        version=version,
        openapi_version="3.0.3",
        info={"description": api.description},
        plugins=[plugin],
    )
    assert plugin.converter is not None, "APISpec made it"
    plugin.converter.add_attribute_function(_without_null_default)  # type: ignore[no-untyped-call]
    spec.components.schema("Error", schema=Error)
    spec.components.security_scheme("Bearer", {"type": "http", "scheme": "bearer"})
    spec.options["security"] = [{"Bearer": []}]
    for operation in (*api.operations, *probes.operations):
        spec.path(openapi_path(operation.path), operations={operation.method.lower(): _describe(operation, api)})
    result: dict[str, Any] = spec.to_dict()
    return result


def _without_null_default(_converter: Any, _field: fields.Field[Any], ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Drop `default: null` if null is not a valid value: an absent field has no default then."""
    if ret.get("default", 0) is None and not ret.get("nullable"):
        del ret["default"]
    return {}


def _describe(operation: Operation, api: Api) -> dict[str, Any]:
    summary, _, description = (operation.view.__doc__ or operation.view.__name__).strip().partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.view.__name__,
        "summary": summary,
        "parameters": _parameters(operation, api),
        "responses": {**_answers(operation, api), **_refusals(operation)},
    }
    lines = [line.strip() for line in description.strip().splitlines()]
    described["description"] = "\n".join([*lines, _who_may_call(operation.access)]).strip()
    if operation.body:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    if isinstance(operation.access, Signed):
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    if operation.is_public or isinstance(operation.access, Signed):
        described["security"] = []
    return described


def _who_may_call(access: Access) -> str:
    match access:
        case Scope(name):
            return f"Needs a key with the scope `{name}`."
        case Callers(names):
            services = " and ".join(f"`{name}`" for name in sorted(names))
            return f"For {services or 'no service'}, and for operators (`ops`)."
        case Signed(header):
            return f"For a sender whose signature of the body is in the header `{header}`."
        case _:
            return "Needs no credential."


def _parameters(operation: Operation, api: Api) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **_spelling(kind, api)}}
        for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", operation.path)
    ]
    if operation.needs_key:
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"}
        text = "Names this request: the same on every retry, new for every new request."
        header = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": schema, "description": text}
        parameters.append(header)
    if operation.query:
        parameters.append({"in": "query", "schema": operation.query})
    return parameters


def _spelling(kind: str, api: Api) -> dict[str, str]:
    if kind in api.ids:
        return {"pattern": api.ids[kind].pattern}
    return {"format": "uuid"} if kind == "uuid" else {}


def _answers(operation: Operation, api: Api) -> dict[str, Any]:
    """Status → its response, for an operation that succeeded."""
    headers = {"X-Request-ID": _header("X-Request-ID", required=True)}
    if errors.IdempotencyKeyReused in _errors(operation):
        headers["Idempotency-Replayed"] = _header("Idempotency-Replayed")
    own = {
        name: {"required": True, "schema": {"type": "string"}, "description": text}
        for name, text in operation.headers.items()
    }
    links = {"links": _links(operation, api)} if operation.leads_to else {}
    return {
        str(status): _response(HTTPStatus(status).phrase, operation.answer, headers | own) | links
        for status in operation.statuses
    }


def _links(operation: Operation, api: Api) -> dict[str, Any]:
    """Links to the operations that take an id from this response."""
    return {
        other.view.__name__: {"operationId": other.view.__name__, "parameters": {id_: f"$response.body#/{field}"}}
        for id_, field in operation.leads_to.items()
        for other in api.operations
        if f"{{{id_}}}" in openapi_path(other.path)
    }


def _refusals(operation: Operation) -> dict[str, Any]:
    """Status → the errors with that status."""
    by_status: dict[int, list[type[errors.ApiError]]] = {}
    for error in _errors(operation):
        by_status.setdefault(error.status, []).append(error)
    return {str(status): _refusal(kinds) for status, kinds in sorted(by_status.items())}


def _refusal(kinds: list[type[errors.ApiError]]) -> dict[str, Any]:
    text = "\n".join(f"- `{kind.code}`: {(kind.__doc__ or '').partition(chr(10))[0]}" for kind in kinds)
    codes = list(dict.fromkeys(kind.code for kind in kinds))
    schema = {"allOf": [{"$ref": "#/components/schemas/Error"}, {"properties": {"error": {"enum": codes}}}]}
    headers = {"X-Request-ID": _header("X-Request-ID", required=True)}
    if any(kind.is_final for kind in kinds):
        headers["Idempotency-Replayed"] = _header("Idempotency-Replayed")
    for name in sorted({name for kind in kinds for name in kind.header_names()}):
        headers[name] = _header(name, required=all(name in kind.header_names() for kind in kinds))
    return _response(text, schema, headers)


def _response(description: str, schema: Any, headers: Headers) -> dict[str, Any]:
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _header(name: str, *, required: bool = False) -> dict[str, Any]:
    schema, text = HEADERS[name]
    return {"required": required, "schema": schema, "description": text}


def _errors(operation: Operation) -> list[type[errors.ApiError]]:
    if operation.is_public:
        return []
    found: list[type[errors.ApiError]] = [*operation.errors, *ALWAYS, errors.Unauthorized, errors.Forbidden]
    if isinstance(operation.access, Scope):
        found.append(errors.RateLimited)  # of its key or address
    if operation.may_change:
        found += WITH_BODY
    if operation.query:
        found.append(errors.ValidationFailed)
    if operation.needs_key:
        found += WITH_KEY
    if "<" in operation.path:
        found.append(errors.NotFound)
    return list(dict.fromkeys(found))


def _class_of(schema: Any) -> type[Schema]:
    return schema if isinstance(schema, type) else type(schema)
