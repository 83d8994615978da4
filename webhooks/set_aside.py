"""What this process leaves out for a while, because the database or our own code refused it."""

from __future__ import annotations

import threading
import time

SET_ASIDE_S = 300.0


class SetAside:
    """Ids of deliveries or of endpoints. Other processes try them, too, and each sets them aside. Thread-safe."""

    def __init__(self, seconds: float = SET_ASIDE_S) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def add(self, id_: str) -> None:
        with self._lock:
            self._until[id_] = time.monotonic() + self._seconds

    def ids(self) -> list[str]:
        """Those that are not to be tried now."""
        now = time.monotonic()
        with self._lock:
            self._until = {id_: until for id_, until in self._until.items() if until > now}
            return list(self._until)
