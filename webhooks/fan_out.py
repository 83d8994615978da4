"""The loop that makes deliveries of new events, and looks after the endpoints."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from common.database import entry_errors
from common.database.errors import TransientDatabaseError
from common.process.progress import Progress
from webhooks.store import Store

LOOK_AFTER_EVERY_S = 60.0
log = logging.getLogger(__name__)


class FanOut:
    """Looks every `poll_interval_s`. Nothing notifies it: an event costs the order that writes it one row only."""

    def __init__(
        self, store: Store, wake: Callable[[], None], poll_interval_s: float, stopping: threading.Event
    ) -> None:
        """:param wake: called after deliveries were made"""
        self._store, self._wake, self._poll_interval_s, self._stopping = store, wake, poll_interval_s, stopping
        self._look_after_at = 0.0
        self.progress = Progress(poll_interval_s)

    def run(self) -> None:
        while not self._stopping.is_set():
            self.progress.mark()
            if not self.run_once():
                self._stopping.wait(self._poll_interval_s)

    def run_once(self) -> int:
        """Make deliveries of what is new. :returns: how many events were read"""
        try:
            self._look_after_endpoints()
            read = self._store.fan_out()
        except TransientDatabaseError as error:
            log.warning("cannot make deliveries, will retry: %s", error)
            return 0
        if read:
            self._wake()
        return read

    def _look_after_endpoints(self) -> None:
        """Now and then. What the database refuses here holds up no delivery."""
        if time.monotonic() < self._look_after_at:
            return
        self._look_after_at = time.monotonic() + LOOK_AFTER_EVERY_S
        try:
            self._store.look_after_endpoints()
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            log.error("cannot look after the webhook endpoints: %s", entry_errors.reason(error))
