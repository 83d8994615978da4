"""Tracing in this process, to a collector of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from common.process.settings import Settings
from common.tracing import tracer
from tests.collector import Collector

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`start(OTEL_EXPORTER_OTLP_ENDPOINT=…)`: start tracing as a process with these settings would."""

    def start(**environ: str) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        tracer.start(Settings.load({"DATABASE_URL": NOWHERE, **environ}), "test")

    yield start
    tracer.stop()


@pytest.fixture
def exported(start: Callable[..., None], collector: Collector) -> Callable[[], Collector]:
    """Tracing is on. Call it to stop that, and to see what was exported."""
    start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    def stop() -> Collector:
        tracer.stop()
        return collector

    return stop
