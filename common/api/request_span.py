"""The span of a request. It continues the trace of a caller whose credential was checked, and of nobody else.

A request that waits without a thread is processed twice (see common/api/waits.py). Its span is that of the second time.
"""

from __future__ import annotations

from flask import Response, g, request

from common.api.paths import openapi_path
from common.tracing import tracer
from common.tracing.tracer import Kind, Value

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
PROBES = frozenset({"/health", "/live"})


def begin_for_caller(*, decides: bool) -> None:
    """Begin the span of an authenticated request, which began at `g.started`.

    :param decides: whether the caller, one of our own processes, decides that the trace is exported. The trace of
        anybody else keeps its id, and OTEL_TRACES_SAMPLER_ARG decides
    """
    _begin(request.headers.get("traceparent"), is_ours=decides)


def note_response(response: Response) -> None:
    """Note the response in the request's span. One that was refused before has no span yet."""
    if "span" not in g:
        if request.path in PROBES:  # each platform asks every few seconds
            return
        _begin(None)
    g.span.set("http.response.status_code", response.status_code)
    if response.status_code >= 500:
        g.span.fail(str(response.status_code))
    g.is_answered = True


def end() -> None:
    """End the span. One without a response belongs to a request that waits, and begins again with it."""
    if "span" in g:
        span = g.pop("span")
        span.end() if g.pop("is_answered", False) else span.abandon()


def _begin(trace_parent: str | None, *, is_ours: bool = False) -> None:
    method = request.method if request.method in METHODS else "_OTHER"
    attributes: dict[str, Value] = {"http.request.method": method}
    words = ["HTTP" if method == "_OTHER" else method]
    if request.url_rule is not None:
        route = openapi_path(request.url_rule.rule)
        attributes["http.route"] = route
        words.append(route)
    g.span = tracer.trace(
        " ".join(words), Kind.SERVER, attributes, continues=trace_parent, is_ours=is_ours, began_s=g.started
    )
