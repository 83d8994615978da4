"""The values that a process keeps of its own work: counters and histograms. docs/metrics.md lists them.

No label is a client, an order, an SKU or a path, so the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from common.process.measures import Meter

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DELAYS = (*SECONDS, 30, 60, 300)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which no rule uses


class Calls(Meter):
    """Calls to other services."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._service, self._registry = service, registry
        self._calls = Histogram(
            "holdfast_call_duration_seconds",
            "Time of a call to another service, by what it answered.",
            ("service", "participant", "answer"),
            buckets=SECONDS,
            registry=registry,
        )

    def call(self, participant: str, answer: str, seconds: float) -> None:
        self._calls.labels(self._service, participant, answer).observe(seconds)


class Web(Calls):
    """Requests to a web process, and its resources, which a thread looks at now and then."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        super().__init__(service, registry)
        self._requests = Counter(
            "holdfast_http_requests",
            "Requests that were answered.",
            ("service", "route", "method", "status"),
            registry=registry,
        )
        self._durations = Histogram(
            "holdfast_http_request_duration_seconds",
            "Time to answer a request that did not wait on purpose.",
            ("service", "route"),
            buckets=SECONDS,
            registry=registry,
        )
        self._connections = Gauge(
            "holdfast_pool_connections",
            "Connections of the database pools.",
            ("service", "state"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._breakers = Gauge(
            "holdfast_breaker_open",
            "1: calls to this participant are held back.",
            ("service", "participant"),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def request(self, route: str, method: str, status: int, seconds: float | None) -> None:
        known = method if method in METHODS else "other"
        self._requests.labels(self._service, route, known, f"{status // 100}xx").inc()
        if seconds is not None:
            self._durations.labels(self._service, route).observe(seconds)

    def pool(self, state: str, connections: int) -> None:
        self._connections.labels(self._service, state).set(connections)

    def breaker(self, participant: str, *, is_open: bool) -> None:
        self._breakers.labels(self._service, participant).set(is_open)


class Orchestrator(Calls):
    """Steps and claims."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        super().__init__(service, registry)
        self._steps = Histogram(
            "holdfast_step_duration_seconds",
            "Time of an action of a saga, by what it came to.",
            ("step", "answer"),
            buckets=SECONDS,
            registry=registry,
        )
        self._delays = Histogram(
            "holdfast_claim_delay_seconds",
            "Time from when an order or refund was due until it was claimed, by the database's clock.",
            buckets=DELAYS,
            registry=registry,
        )

    def step(self, name: str, answer: str, seconds: float) -> None:
        self._steps.labels(name, answer).observe(seconds)

    def claimed(self, delays_s: Iterable[float]) -> None:
        for delay_s in delays_s:
            self._delays.observe(delay_s)


class Webhooks(Meter):
    """Attempts at deliveries."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._deliveries = Counter(
            "holdfast_webhook_deliveries",
            "Attempts at deliveries, by what they came to.",
            ("answer",),
            registry=registry,
        )
        self._durations = Histogram(
            "holdfast_webhook_delivery_duration_seconds",
            "Time of an attempt at a delivery.",
            buckets=(*SECONDS, 30),
            registry=registry,
        )

    def delivery(self, answer: str, seconds: float) -> None:
        self._deliveries.labels(answer).inc()
        self._durations.observe(seconds)
