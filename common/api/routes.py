"""Routes as data: one declaration validates, calls, dumps and documents an operation.

A view gets the service's context first (its database, or an object made by `create_app`), then the arguments it names:
path parameters, `body`, `query`, `idempotency_key`, `sent`; `raw` and `signature` if the sender signs the body.
`g.caller` is the caller's name. A view returns data for
the schema to dump, a `Reply`, or a `StoredResponse`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flask import Flask, Response, current_app, g, request
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.routing import BaseConverter

from common.api import idempotency, request_span
from common.api.access import PUBLIC, Access, Callers, Guard, Signed
from common.api.errors import (
    ApiError,
    MalformedJson,
    MissingIdempotencyKey,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from common.json_text import encode
from common.json_text.decode import NotJson, decode

View = Callable[..., Any]


@dataclass(frozen=True)
class Reply:
    """The result of a view whose status or headers depend on what happened."""

    data: Any
    status: int
    headers: dict[str, str] = field(default_factory=dict)


class PathId(BaseConverter):
    """A type of id in paths. `regex` is what the route accepts, `pattern` the spelling of a well-formed id."""

    pattern: ClassVar[str]


class TextId(PathId):
    """An id of letters, digits, `_` and `-`, such as `we_…`. The path with any other text does not exist."""

    regex = "[A-Za-z0-9_-]{1,64}"
    pattern = f"^{regex}$"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path, with everything that the OpenAPI document says about it."""

    method: str
    path: str
    access: Access
    view: View
    answer: Schema
    statuses: tuple[int, ...]
    body: Schema | None
    query: Schema | None
    needs_key: bool
    needs_sent: bool
    headers: dict[str, str]
    leads_to: dict[str, str]
    errors: tuple[type[ApiError], ...]

    @property
    def may_change(self) -> bool:
        return self.method != "GET"

    @property
    def is_public(self) -> bool:
        return self.access == PUBLIC


class Api:
    """The operations of one service."""

    def __init__(self, title: str, description: str, *, ids: dict[str, type[PathId]] | None = None) -> None:
        """:param ids: the kinds of ids in paths, by the name in `<name:…>`"""
        self.title, self.description = title, description
        self.ids = ids or {}
        self.operations: list[Operation] = []

    def route(
        self,
        method: str,
        path: str,
        *,
        access: Access,
        answer: type[Schema],
        status: int | tuple[int, ...] = 200,
        body: type[Schema] | None = None,
        query: type[Schema] | None = None,
        idempotency_key: bool = False,
        sent: bool = False,
        headers: dict[str, str] | None = None,
        leads_to: dict[str, str] | None = None,
        errors: Sequence[type[ApiError]] = (),
    ) -> Callable[[View], View]:
        """Declare a view as an operation. It responds with the first of `status` unless it returns another one.

        :param access: who may call it
        :param sent: the view also gets the body as it was sent, for a fingerprint
        :param headers: those of the first response, each with its meaning
        :param leads_to: ids in the paths of other operations, each with the field of this response that has it
        """

        def declare(view: View) -> View:
            self.operations.append(
                Operation(
                    method=method,
                    path=path,
                    access=access,
                    view=view,
                    answer=answer(),
                    statuses=status if isinstance(status, tuple) else (status,),
                    body=body() if body else None,
                    query=query() if query else None,
                    needs_key=idempotency_key,
                    needs_sent=sent,
                    headers=headers or {},
                    leads_to=leads_to or {},
                    errors=tuple(errors),
                )
            )
            return view

        return declare

    def without(self, name: str) -> Api:
        """The same operations but the one whose view has this name."""
        rest = Api(self.title, self.description, ids=self.ids)
        rest.operations = [each for each in self.operations if each.view.__name__ != name]
        return rest

    def mount(self, app: Flask, context: Any, guard: Guard) -> None:
        app.url_map.converters.update(self.ids)
        for operation in self.operations:
            app.add_url_rule(
                operation.path,
                endpoint=operation.view.__name__,
                view_func=_handler(operation, context, guard),
                methods=[operation.method],
                provide_automatic_options=False,  # it would answer without a credential, in HTML
            )


def _handler(operation: Operation, context: Any, guard: Guard) -> Callable[..., Response]:
    def handle(**path: Any) -> Response:
        arguments: dict[str, Any] = {name: str(value) for name, value in path.items()}
        if isinstance(operation.access, Signed):
            signature = request.headers.get(operation.access.header, "")
            return _respond(operation, operation.view(context, raw=_raw_body(), signature=signature, **arguments))
        if not operation.is_public:
            g.caller = guard(request.headers.get("Authorization"), operation.access)
            request_span.begin_for_caller(decides=isinstance(operation.access, Callers))
        if operation.needs_key:
            arguments["idempotency_key"] = idempotency_key()
        if operation.query:
            arguments["query"] = load(operation.query, _single_values(request.args))
        if operation.body:
            sent = json_body()
            arguments["body"] = load(operation.body, sent)
            if operation.needs_sent:
                arguments["sent"] = sent
        elif operation.may_change and json_body(default={}) != {}:
            raise ValidationFailed(_schema=["This call takes no body."])
        return _respond(operation, operation.view(context, **arguments))

    return handle


def _respond(operation: Operation, result: Any) -> Response:
    if isinstance(result, idempotency.StoredResponse):
        response = Response(result.body, result.status, result.headers, mimetype="application/json")
        if result.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return response
    reply = result if isinstance(result, Reply) else Reply(result, operation.statuses[0])
    text = encode.readable(operation.answer.dump(reply.data))
    return Response(text, reply.status, reply.headers, mimetype="application/json")


def load(schema: Schema, data: Any) -> Any:
    """:raises ValidationFailed: with each field's messages in its details"""
    try:
        return schema.load(data)
    except ValidationError as error:
        messages: dict[Any, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise ValidationFailed(**{str(name): problem for name, problem in messages.items()}) from None


def json_body(default: Any = None) -> Any:
    """The request's body, read as strict JSON: UTF-8, no NaN, no name twice, no NUL, no half of a surrogate pair.

    :param default: the value of an empty body; None: an empty body is refused
    """
    if request.content_encoding not in (None, "", "identity"):
        raise UnsupportedMediaType()
    raw = _raw_body()
    if not raw.strip() and default is not None:
        return default
    if request.content_type != "application/json" and not _is_utf8_json(request.mimetype, request.mimetype_params):
        raise UnsupportedMediaType()
    try:
        return decode(raw)
    except NotJson as error:
        raise MalformedJson(f"The body is not valid JSON in UTF-8: {error}.") from None


def _raw_body() -> bytes:
    raw = request.get_data(cache=False)
    if request.content_length is None and len(raw) >= current_app.config["MAX_CONTENT_LENGTH"]:
        raise PayloadTooLarge()  # a chunked body does not announce its length, and was cut off at the limit
    return raw


def _is_utf8_json(mimetype: str, params: Mapping[str, str]) -> bool:
    return mimetype == "application/json" and params.get("charset", "utf-8").lower() in ("utf-8", "utf8")


def idempotency_key() -> str:
    """:raises MissingIdempotencyKey: no header :raises ValidationFailed: not 1 to 255 printable ASCII characters"""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        raise MissingIdempotencyKey()
    if key.endswith(idempotency.SENT_TWICE):
        raise ValidationFailed(**{"Idempotency-Key": ["Given more than once."]})
    if not idempotency.WELL_FORMED.fullmatch(key):
        raise ValidationFailed(**{"Idempotency-Key": ["Must be 1 to 255 printable ASCII characters."]})
    return key


def _single_values(args: MultiDict[str, str]) -> dict[str, str]:
    repeated = [name for name, values in args.lists() if len(values) > 1]
    if repeated:
        raise ValidationFailed(**{name: ["Given more than once."] for name in repeated})
    return args.to_dict()
