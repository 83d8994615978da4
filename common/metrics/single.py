"""`/metrics` of a process without workers: one registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from common.metrics import exposition
from common.process import measures
from common.process.settings import Settings

Readings = Mapping[tuple[str, ...], float]


class Gauges:
    """Gauges whose values are read when somebody asks for them."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, tuple[str, ...], Callable[[], Readings]]] = []

    def add(self, name: str, about: str, labels: tuple[str, ...], read: Callable[[], Readings]) -> None:
        """:param read: returns the values, each by its labels"""
        self._gauges.append((name, about, labels, read))

    def pool(self, service: str, read: Callable[[], Mapping[str, int]]) -> None:
        self.add(
            "holdfast_pool_connections",
            "Connections of the database pools.",
            ("service", "state"),
            lambda: {(service, state): count for state, count in read().items()},
        )

    def collect(self) -> Iterator[Any]:
        for name, about, labels, read in self._gauges:
            family = GaugeMetricFamily(name, about, labels=labels)
            for values, value in read().items():
                family.add_metric(values, value)
            yield family


def start(
    settings: Settings, meter: Callable[[CollectorRegistry], measures.Meter], collectors: Iterable[Collector]
) -> None:
    """Serve `/metrics` from a thread, if the port can be had."""
    listener = exposition.listen(settings.bind_host, settings.metrics_port)
    if listener is None:
        return
    registry = CollectorRegistry()
    measures.use(meter(registry))
    for collector in collectors:
        registry.register(collector)
    exposition.serve(listener, registry)
