"""The metrics of the process `webhooks`. Imported only if METRICS_PORT is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from common.metrics import meters, single
from common.process.settings import Settings


def serve(settings: Settings, pool: Callable[[], Mapping[str, int]]) -> None:
    gauges = single.Gauges()
    gauges.pool("webhooks", pool)
    single.start(settings, meters.Webhooks, [gauges])
