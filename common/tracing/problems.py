"""What OpenTelemetry reports about itself, such as a collector that does not answer."""

from __future__ import annotations

import logging
import time

LOG_EVERY_S = 60.0
log = logging.getLogger(__name__)


class OnceAMinute(logging.Handler):
    """Logs one of the messages each minute: while the collector is down, every batch fails with several."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._silent_until = 0.0

    @classmethod
    def install(cls) -> None:
        """Take over the messages of OpenTelemetry, which then reach no other handler."""
        theirs = logging.getLogger("opentelemetry")
        theirs.handlers, theirs.propagate = [cls()], False

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + LOG_EVERY_S
            log.warning("traces are incomplete: %s", record.getMessage())
