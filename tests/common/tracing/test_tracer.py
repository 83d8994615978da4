"""What is exported, what is not, and what happens when nobody takes it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from common.process import logs
from common.tracing import problems, tracer
from common.tracing.tracer import Kind
from tests.collector import Collector
from tests.system.stack import free_port
from tests.waiting import eventually

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
Start = Callable[..., None]
Exported = Callable[[], Collector]
OFF = """
import sys
from common.process.settings import Settings
from common.tracing import tracer
from common.tracing.tracer import Kind
import edge_api.app, orders_service.app, inventory_service.app, payments_service.app, orchestrator.__main__
import webhooks.__main__
tracer.start(Settings.load(), "edge_api")
with tracer.trace("a", Kind.SERVER), tracer.span("b"):
    assert tracer.trace_parent() is None
tracer.stop()
sys.exit(any(name.partition(".")[0] in ("opentelemetry", "google") for name in sys.modules))
"""


@pytest.mark.parametrize(
    "environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"}]
)
def test_nothing_is_imported_where_tracing_is_off(environ: dict[str, str]) -> None:
    given = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "PYTHONPATH": ":".join(sys.path), **environ}
    assert subprocess.run([sys.executable, "-c", OFF], env=given, check=False).returncode == 0


def test_spans_have_their_parents_and_attributes(exported: Exported) -> None:
    with tracer.trace("outer", Kind.SERVER, {"http.request.method": "GET"}) as outer:
        with tracer.span("inner", Kind.CLIENT):
            place = tracer.trace_parent()
        outer.set("http.response.status_code", 200)
    inner_span, outer_span = sorted(exported().spans, key=lambda span: span.name)
    assert place == f"00-{inner_span.trace_id}-{inner_span.span_id}-03"
    assert (inner_span.trace_id, inner_span.parent_id) == outer_span.place
    assert (outer_span.parent_id, outer_span.kind, inner_span.kind) == ("", "SERVER", "CLIENT")
    assert outer_span.attributes == {"http.request.method": "GET", "http.response.status_code": 200}
    assert outer_span.service == "holdfast-test"


def test_service_has_the_name_that_is_set(start: Start, collector: Collector) -> None:
    start(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces", OTEL_SERVICE_NAME="shop")
    tracer.span("a").end()
    tracer.stop()
    assert [span.service for span in collector.spans] == ["shop"]


def test_trace_begins_anew_within_another(exported: Exported) -> None:
    with tracer.span("first"), tracer.trace("second", Kind.CONSUMER, links=[SAMPLED, None, "not one"]):
        pass
    second, first = exported().spans
    assert second.trace_id != first.trace_id
    assert (second.parent_id, second.links) == ("", [(TRACE, SPAN)])


def test_trace_is_continued(exported: Exported) -> None:
    with tracer.trace("a", Kind.SERVER, continues=SAMPLED):
        pass
    (span,) = exported().spans
    assert (span.trace_id, span.parent_id) == (TRACE, SPAN)


def test_exception_marks_the_span(exported: Exported) -> None:
    with pytest.raises(KeyError), tracer.span("a"):
        raise KeyError("not in the span")
    (span,) = exported().spans
    assert span.has_failed
    assert span.attributes == {"error.type": "KeyError"}


def test_abandoned_span_is_not_exported(exported: Exported) -> None:
    tracer.span("a").abandon()
    assert tracer.trace_parent() is None
    assert exported().spans == []


@pytest.mark.parametrize(("ratio", "linked", "is_exported"), [("0", SAMPLED, True), ("1", NOT_SAMPLED, False)])
def test_later_trace_is_exported_if_the_first_one_is(
    start: Start, collector: Collector, ratio: str, linked: str, is_exported: bool
) -> None:
    start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_SAMPLER_ARG=ratio)
    for how in ({"continues": linked}, {"links": [linked]}):
        with tracer.trace("a", Kind.CONSUMER, **how), tracer.span("b"):  # type: ignore[arg-type]
            pass
    tracer.stop()
    assert len(collector.spans) == (4 if is_exported else 0)


def test_ratio_decides_on_the_first_trace(start: Start, collector: Collector) -> None:
    start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_SAMPLER_ARG="0")
    with tracer.trace("a", Kind.SERVER, continues="not one"):
        stored = tracer.trace_parent()
        assert stored is not None
        assert int(stored[-2:], 16) & 1 == 0
    tracer.stop()
    assert collector.spans == []


def test_log_lines_have_the_id_of_the_trace(exported: Exported) -> None:
    with tracer.trace("a", Kind.SERVER, continues=SAMPLED):
        assert logs.trace_id.get() == TRACE
        with tracer.trace("b", Kind.SERVER):
            assert logs.trace_id.get() not in ("", TRACE)
        assert logs.trace_id.get() == TRACE
    assert logs.trace_id.get() == ""
    exported()


def test_stop_does_not_wait_for_a_collector_that_hangs(start: Start, collector: Collector) -> None:
    collector.is_hanging = True
    start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_TIMEOUT="60")
    tracer.span("a").end()
    tracer.stop()
    assert collector.has_request.is_set()
    assert "flush traces" in {thread.name for thread in threading.enumerate()}, "the flush was waited for"


def test_span_after_the_stop_does_nothing(exported: Exported) -> None:
    late = tracer.span("late")
    collector = exported()
    late.end()
    tracer.span("later").end()
    assert collector.spans == []


def test_dead_collector_is_logged_once_a_minute(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    start(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    tracer.span("a").end()
    tracer.stop()
    eventually(lambda: caplog.records)
    for _ in range(3):
        logging.getLogger("opentelemetry.exporter").warning("again")
    assert [record.name for record in caplog.records] == [problems.__name__]


def test_bad_variable_of_the_sdk_stops_nothing(
    start: Start, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="-1")
    with tracer.span("a"):
        assert tracer.trace_parent() is None
    assert "nothing is traced" in caplog.text
