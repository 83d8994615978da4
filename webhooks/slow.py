"""Which receivers are slow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from webhooks.delivery import Claim, Delivery

SLOW_AFTER_S = 2.0


class SlowEndpoints:
    """Endpoints whose last attempt took longer than SLOW_AFTER_S, or that have such an attempt in flight."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._begun: dict[Claim, tuple[str, float]] = {}
        self._slow: set[str] = set()

    @contextmanager
    def timed(self, delivery: Delivery) -> Iterator[None]:
        """Note how long an attempt takes."""
        begun = monotonic()
        with self._lock:
            self._begun[delivery.claim] = delivery.endpoint_id, begun
        try:
            yield
        finally:
            with self._lock:
                del self._begun[delivery.claim]
                note = self._slow.add if _is_slow(begun) else self._slow.discard
                note(delivery.endpoint_id)

    def ids(self) -> set[str]:
        with self._lock:
            return self._slow | {endpoint_id for endpoint_id, begun in self._begun.values() if _is_slow(begun)}


def _is_slow(begun: float) -> bool:
    return monotonic() - begun > SLOW_AFTER_S
