"""The spans of this process. Before `start`, and where tracing is off, nothing here does anything."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

Value = str | int | bool
NOTHING: Mapping[str, Value] = {}


class Kind(StrEnum):
    """What a span is, in the terms of OpenTelemetry."""

    SERVER = "SERVER"
    CLIENT = "CLIENT"
    CONSUMER = "CONSUMER"
    INTERNAL = "INTERNAL"


class Span:
    """A part of a trace, and the current one of its thread until it ends. This one does nothing."""

    def set(self, name: str, value: Value) -> None:
        """Set an attribute."""

    def fail(self, error: str) -> None:
        """Mark it as failed.

        :param error: the kind of the error, one of few
        """

    def end(self) -> None:
        """End it, and hand it to the exporter."""

    def abandon(self) -> None:
        """End it without exporting it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class Tracer:
    """Makes spans. This one makes none."""

    def span(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> Span:
        return NO_SPAN

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
        return NO_SPAN

    def trace_parent(self) -> str | None:
        return None

    def stop(self) -> None:
        pass


class Configured(Protocol):
    """The settings that are needed."""

    @property
    def traces_are_on(self) -> bool: ...
    @property
    def otel_service_name(self) -> str: ...
    @property
    def otel_traces_sampler_arg(self) -> float: ...


NO_SPAN = Span()
log = logging.getLogger(__name__)
_tracer = Tracer()


def start(settings: Configured, process: str) -> None:
    """Trace from now on, if the settings say so. Call it after the last fork: the exporter has a thread.

    :param process: `edge_api`, `orchestrator`, …
    """
    global _tracer  # noqa: PLW0603
    if settings.traces_are_on:
        from common.tracing.sdk import SdkTracer  # noqa: PLC0415  # its packages are optional, and take 20 MB

        service = settings.otel_service_name or f"holdfast-{process}"
        try:
            _tracer = SdkTracer(service, settings.otel_traces_sampler_arg)
        except Exception as error:  # a bad value of a variable that only the SDK reads must not stop orders
            log.error("nothing is traced: %s. Check the variables OTEL_….", error)


def stop() -> None:
    """Export what has ended, for at most two seconds. No span is exported afterwards."""
    global _tracer
    stopped, _tracer = _tracer, Tracer()
    stopped.stop()


def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] = NOTHING) -> Span:
    """Begin a span below the current one."""
    return _tracer.span(name, kind, attributes)


def trace(
    name: str,
    kind: Kind,
    attributes: Mapping[str, Value] = NOTHING,
    *,
    continues: str | None = None,
    is_ours: bool = True,
    links: Sequence[str | None] = (),
    began_s: float | None = None,
) -> Span:
    """Begin the first span of a trace in this process, whatever the current one is.

    :param continues: the `traceparent` of the trace to continue. None, or one that is not well formed: a new trace
    :param is_ours: one of our processes began that trace. It is then exported if its first part is; otherwise the share
        of exported traces decides, and not the flag or the id that somebody else has chosen
    :param links: the same of traces that this one is about. Whether it is exported follows from the first of them
    :param began_s: when it began, by `time.perf_counter`. None: now
    """
    return _tracer.trace(name, kind, attributes, continues=continues, is_ours=is_ours, links=links, began_s=began_s)


def trace_parent() -> str | None:
    """The `traceparent` that continues the current span elsewhere. None: there is no span."""
    return _tracer.trace_parent()
