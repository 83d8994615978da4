"""The thread that counts orders by the minute (see common/ledger/sums.py). Every orchestrator has one."""

from __future__ import annotations

import logging
import random
import threading
import time

import psycopg2

from common.database.database import Database
from common.database.errors import TransientDatabaseError
from common.ledger import sums
from common.process.progress import Progress

log = logging.getLogger(__name__)

EVERY_S, EVERY_S_WHILE_BEHIND = 5.0, 2.0
DELETE_EVERY_S = 60.0
LOG_EVERY_S = 60.0


class OrderSums:
    """Looks every few seconds. Nothing notifies it, and no order waits for it."""

    def __init__(self, database: Database, stopping: threading.Event) -> None:
        self._database, self._stopping = database, stopping
        self._delete_at = self._log_at = 0.0
        self.progress = Progress(EVERY_S)

    def run(self) -> None:
        while not self._stopping.is_set():
            self.progress.mark()
            is_behind = self.run_once() >= sums.BATCH
            pause_s = EVERY_S_WHILE_BEHIND if is_behind else EVERY_S
            self._stopping.wait(pause_s * (1 + random.random() / 10))

    def run_once(self) -> int:
        """Count what is new. No error is raised: it would end the process. :returns: how many events were read"""
        try:
            read = sums.count_next(self._database)
            self._delete_old()
        except (TransientDatabaseError, psycopg2.Error) as error:  # sums that are late must not stop a saga
            log.warning("orders are not counted, will retry: %s", str(error).strip() or type(error).__name__)
            return 0
        except Exception:  # nor must any other error
            if time.monotonic() >= self._log_at:
                self._log_at = time.monotonic() + LOG_EVERY_S
                log.exception("orders are not counted, will retry")
            return 0
        return read

    def _delete_old(self) -> None:
        if time.monotonic() >= self._delete_at:
            self._delete_at = time.monotonic() + DELETE_EVERY_S
            sums.delete_old(self._database)
