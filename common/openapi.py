"""The OpenAPI 3 document of a service, made from its routes and schemas, and the page that shows it."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema, fields

from common import errors
from common.api import Api, Operation, openapi_path

# What any route may answer, whatever it does.
ALWAYS = (errors.ServiceUnavailable, errors.DatabaseUnavailable)
WITH_BODY = (
    errors.ValidationFailed,
    errors.MalformedJson,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
)
WITH_KEY = (errors.MissingIdempotencyKey, errors.IdempotencyKeyReused, errors.RequestInProgress)


class Error(Schema):
    error = fields.String(required=True)
    message = fields.String(required=True)
    details = fields.Dict(keys=fields.String())
    request_id = fields.String(required=True)


def document(api: Api, version: str) -> dict[str, Any]:
    """The document as JSON-ready data."""
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: _class_of(schema).__name__)
    spec = APISpec(
        title=api.title,
        version=version,
        openapi_version="3.0.3",
        info={"description": api.description},
        plugins=[plugin],
    )
    spec.components.schema("Error", schema=Error)
    if api.takes_api_key:
        spec.components.security_scheme("ApiKey", {"type": "http", "scheme": "bearer"})
        spec.options["security"] = [{"ApiKey": []}, {}]  # {}: a system without API keys is open
    for operation in api.operations:
        spec.path(openapi_path(operation.path), operations={operation.method.lower(): _describe(operation)})
    result: dict[str, Any] = spec.to_dict()
    return result


def _describe(operation: Operation) -> dict[str, Any]:
    summary, _, description = (operation.view.__doc__ or operation.view.__name__).strip().partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.view.__name__,
        "summary": summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if description.strip():
        described["description"] = "\n".join(line.strip() for line in description.strip().splitlines())
    if operation.body:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **_format(kind)}}
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


def _format(kind: str) -> dict[str, str]:
    return {"format": "uuid"} if kind == "uuid" else {}


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": operation.answer}},
        }
        for status in operation.statuses
    }
    by_status: dict[int, list[type[errors.ApiError]]] = {}
    for error in _errors(operation):
        by_status.setdefault(error.status, []).append(error)
    for status, kinds in sorted(by_status.items()):
        text = "\n".join(f"- `{kind.code}`: {(kind.__doc__ or '').partition(chr(10))[0]}" for kind in kinds)
        responses[str(status)] = {"description": text, "content": {"application/json": {"schema": "Error"}}}
    return responses


def _errors(operation: Operation) -> list[type[errors.ApiError]]:
    found: list[type[errors.ApiError]] = [*operation.errors, *ALWAYS]
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
