"""Waits for notifications on a separate connection. A notification is only a hint, which wakes the dispatcher."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import backoff
import psycopg2

from common.database import nonblocking
from common.process.progress import Progress
from domain.states import CHANNEL

log = logging.getLogger(__name__)

PROVE_EVERY_S = 4.0  # together with the time for the answer below, a half-open connection is found within 10 s
ANSWER_WITHIN_S = 3.0
RECONNECT_FIRST_S, RECONNECT_AT_MOST_S = 0.1, 5.0


class Listener:
    """Wakes somebody for each notification, and everybody after each reconnect. It ends with `stopping`."""

    def __init__(self, url: str, wake: Mapping[str, Callable[[], None]], stopping: threading.Event) -> None:
        """:param wake: channel → what to call"""
        self._url, self._wake, self._stopping = url, wake, stopping
        self.is_listening = threading.Event()
        self._is_heard = False
        self.progress = Progress(PROVE_EVERY_S + RECONNECT_AT_MOST_S)

    @property
    def is_hearing(self) -> bool:
        """Whether notifications arrive. Otherwise entries are found by polling only."""
        return self._is_heard and self.is_listening.is_set()

    def run(self) -> None:
        delays = _delays()
        while not self._stopping.is_set():
            self.progress.mark()
            try:
                connection = self._connect()
                try:
                    delays = _delays()
                    self.is_listening.set()
                    connection.notifies.clear()
                    self._wake_for(self._wake)  # for what was committed while nobody listened
                    self._listen(connection)
                finally:
                    self.is_listening.clear()
                    connection.close()
            except (psycopg2.Error, TimeoutError, OSError) as error:
                log.warning("not listening, polling goes on: %s", str(error).strip() or type(error).__name__)
                self._stopping.wait(next(delays) * (1 + random.random() / 10))

    def _connect(self) -> Any:
        """A connection that listens, after a check that notifications from other connections reach it."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        connection = nonblocking.open_async(self._url, "orchestrator listen", deadline)
        try:
            _execute(connection, "; ".join(f"LISTEN {channel}" for channel in self._wake), deadline)
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: Any) -> None:
        """Log an error when notifications do not come through. Polling alone then finds the orders."""
        self._is_heard = False
        try:
            self._is_heard = self._hears(connection)
            if not self._is_heard:
                log.error(
                    "notifications do not arrive, so orders are found by polling only."
                    " Behind a pooler in transaction mode, set DATABASE_DIRECT_URL."
                )
        except psycopg2.errors.ProgramLimitExceeded:
            log.warning(
                "the queue of NOTIFY is full: orders are found by polling until its slowest listener catches up"
            )

    def _hears(self, connection: Any) -> bool:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        other = nonblocking.open_async(self._url, "orchestrator listen check", deadline)
        try:
            _execute(other, f"NOTIFY {CHANNEL}", deadline)
        finally:
            other.close()
        while not connection.notifies and (left := deadline - time.monotonic()) > 0:
            nonblocking.is_ready(connection, left)
            connection.poll()
        return bool(connection.notifies)

    def _listen(self, connection: Any) -> None:
        while not self._stopping.is_set():
            self.progress.mark()
            if nonblocking.is_ready(connection, PROVE_EVERY_S):
                connection.poll()
            else:
                _execute(connection, "SELECT 1", time.monotonic() + ANSWER_WITHIN_S)
            if connection.notifies:
                channels = {notification.channel for notification in connection.notifies}
                connection.notifies.clear()
                self._wake_for(channels)

    def _wake_for(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._wake[channel]()


def _execute(connection: Any, sql: str, deadline: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        nonblocking.wait(connection, deadline)


def _delays() -> Any:
    delays = backoff.expo(factor=RECONNECT_FIRST_S, max_value=RECONNECT_AT_MOST_S)
    next(delays)  # the generator yields None first
    return delays
