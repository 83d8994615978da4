"""The tracer over OpenTelemetry's SDK. Only `tracer.start` imports this module."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping, Sequence

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from common import __version__
from common.process import logs
from common.tracing.problems import OnceAMinute
from common.tracing.sampling import of_the_order
from common.tracing.trace_parent import TraceParent, parse
from common.tracing.tracer import Kind, Span, Tracer, Value

FLUSH_WITHIN_S = 2.0  # what a platform leaves of its 25 s after 22 s of draining, with a second to spare
KINDS = {kind: SpanKind[kind] for kind in Kind}


class SdkTracer(Tracer):
    """Exports spans in batches, from a thread of its own. Spans that nobody takes are dropped."""

    def __init__(self, service: str, ratio: float) -> None:
        """
        :param service: the name of this process
        :param ratio: the share of traces that are exported
        """
        OnceAMinute.install()
        self._ratio = ratio
        resource = Resource.create({"service.name": service, "process.pid": os.getpid()})
        # Without `shutdown_on_exit`: its flush may take 30 s.
        self._provider = TracerProvider(of_the_order(ratio), resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("holdfast", __version__)

    def span(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> Span:
        return SdkSpan(self._tracer.start_span(name, kind=KINDS[kind], attributes=attributes))

    def trace(
        self,
        name: str,
        kind: Kind,
        attributes: Mapping[str, Value],
        *,
        continues: str | None,
        is_ours: bool,
        links: Sequence[str | None],
        began_s: float | None,
    ) -> Span:
        parent = parse(continues)
        if parent and not is_ours:
            parent = parent._replace(flags=int(random.random() < self._ratio))
        root = trace.set_span_in_context(NonRecordingSpan(_remote(parent)), Context()) if parent else Context()
        linked = [Link(_remote(each)) for each in map(parse, links) if each]
        began_ns = None if began_s is None else time.time_ns() - int((time.perf_counter() - began_s) * 1e9)
        return SdkSpan(self._tracer.start_span(name, root, KINDS[kind], attributes, linked, began_ns))

    def trace_parent(self) -> str | None:
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return None
        return str(TraceParent(current.trace_id, current.span_id, current.trace_flags))

    def stop(self) -> None:
        flush = threading.Thread(target=self._provider.shutdown, name="flush traces", daemon=True)
        flush.start()
        flush.join(FLUSH_WITHIN_S)


class SdkSpan(Span):
    """The current span of its thread until it ends. The thread's log lines carry its trace's id."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token = context.attach(trace.set_span_in_context(span))
        self._logged_before = logs.trace_id.get()
        logs.trace_id.set(f"{span.get_span_context().trace_id:032x}")

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, error: str) -> None:
        self._span.set_attribute("error.type", error)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self.abandon()
        self._span.end()

    def abandon(self) -> None:
        context.detach(self._token)
        logs.trace_id.set(self._logged_before)


def _remote(parent: TraceParent) -> SpanContext:
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(parent.flags))
