"""What a process measures of its own work. Without a meter, each function here does nothing.

The meter lies above (see the package common.metrics), so that nothing loads it where METRICS_PORT is not set. An error
in it never reaches the work that is measured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

WARN_EVERY_S = 60.0
log = logging.getLogger(__name__)


class Meter:
    """Notified in the thread that did the work. Times are in seconds. Each process keeps what concerns it."""

    def request(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """A web process answered a request.

        :param route: the rule, never the path
        :param seconds: None: the request waited on purpose
        """

    def call(self, participant: str, answer: str, seconds: float) -> None:
        """Another service was called."""

    def step(self, name: str, answer: str, seconds: float) -> None:
        """A saga asked for one of its actions."""

    def claimed(self, delays_s: Iterable[float]) -> None:
        """Entries were claimed, each so long after it was due."""

    def delivery(self, answer: str, seconds: float) -> None:
        """A webhook was attempted."""


_meter: Meter | None = None
_warn_at = 0.0


def use(meter: Meter | None) -> None:
    """Tell `meter` from now on; None: nobody."""
    global _meter  # noqa: PLW0603
    _meter = meter


def request(route: str, method: str, status: int, seconds: float | None) -> None:
    _tell("request", route, method, status, seconds)


def call(participant: str, answer: str, seconds: float) -> None:
    _tell("call", participant, answer, seconds)


def step(name: str, answer: str, seconds: float) -> None:
    _tell("step", name, answer, seconds)


def claimed(delays_s: Iterable[float]) -> None:
    _tell("claimed", delays_s)


def delivery(answer: str, seconds: float) -> None:
    _tell("delivery", answer, seconds)


def _tell(what: str, *values: object) -> None:
    global _warn_at  # noqa: PLW0603
    if _meter is None:
        return
    try:
        getattr(_meter, what)(*values)
    except Exception:  # whatever it is: a measurement must not cost an order
        if time.monotonic() >= _warn_at:
            _warn_at = time.monotonic() + WARN_EVERY_S
            log.warning("a measurement is lost", exc_info=True)
