"""The metrics of an orchestrator. Imported only if METRICS_PORT is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from common.database.database import Database
from common.metrics import meters, single
from common.process.settings import Settings
from orchestrator.figures import Figures
from orchestrator.participants import Participant

NAME = "orchestrator"


class Measured(Protocol):
    """What the metrics look at."""

    @property
    def books(self) -> Database: ...
    @property
    def participants(self) -> Mapping[str, Participant]: ...
    def slots(self) -> Mapping[str, Mapping[str, int]]: ...
    def is_hearing(self) -> bool: ...
    @property
    def pool(self) -> Callable[[], Mapping[str, int]]: ...


def serve(settings: Settings, orchestrator: Measured) -> None:
    gauges = single.Gauges()
    gauges.pool(NAME, orchestrator.pool)
    gauges.add(
        "holdfast_worker_slots",
        "Threads for orders and for refunds.",
        ("kind", "state"),
        lambda: {
            (kind, state): count for kind, states in orchestrator.slots().items() for state, count in states.items()
        },
    )
    gauges.add(
        "holdfast_listen_up",
        "1: notifications are heard. 0: orders are found by polling only.",
        (),
        lambda: {(): orchestrator.is_hearing()},
    )
    gauges.add(
        "holdfast_breaker_open",
        "1: calls to this participant are held back.",
        ("service", "participant"),
        lambda: {(NAME, name): each.is_held_back() for name, each in orchestrator.participants.items()},
    )
    single.start(settings, partial(meters.Orchestrator, NAME), [gauges, Figures(orchestrator.books)])
