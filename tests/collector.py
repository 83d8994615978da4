"""A collector of traces over OTLP/HTTP, which a test can make hang."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

Place = tuple[str, str]  # the ids of a trace and of a span in it


class Span(NamedTuple):
    service: str
    pid: int
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: list[Place]
    attributes: Mapping[str, object]
    has_failed: bool

    @property
    def place(self) -> Place:
        return self.trace_id, self.span_id


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.received = b""
        """All that was sent, with the texts in it as they are: OTLP does not compress them."""
        self.is_hanging = False
        self.has_request = threading.Event()
        self.go = threading.Event()
        """While the collector hangs, requests wait for it."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name: str, trace_id: str | None = None) -> list[Span]:
        return [each for each in list(self.spans) if each.name == name and trace_id in (None, each.trace_id)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A connection that the other side has closed."""


class _Handler(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.has_request.set()
        if self.server.is_hanging:
            self.server.go.wait(60)
        self.server.received += body
        if self.path == "/v1/traces":
            self.server.spans += _spans(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        _span(span, _values(of_process.resource.attributes))
        for of_process in request.resource_spans
        for scope in of_process.scope_spans
        for span in scope.spans
    ]


def _span(span: trace_pb2.Span, resource: Mapping[str, object]) -> Span:
    return Span(
        service=str(resource["service.name"]),
        pid=int(str(resource["process.pid"])),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        attributes=_values(span.attributes),
        has_failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _values(attributes: object) -> dict[str, object]:
    pairs: list[KeyValue] = list(attributes)  # type: ignore[call-overload]
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in pairs}
