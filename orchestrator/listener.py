"""LISTEN and poll(). A notification is a hint and nothing more: all this does is say "wake"."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import backoff
import psycopg2

from common.database import nonblocking
from domain.states import CHANNEL

log = logging.getLogger(__name__)

PROVE_EVERY_S = 4.0  # with the answer's time below, a half-open connection is found within 10 s
ANSWER_WITHIN_S = 3.0
RECONNECT_FIRST_S, RECONNECT_AT_MOST_S = 0.1, 5.0


class Listener:
    """Calls `wake` for each notification and after each reconnect. Never gives up; ends when `stopping` is set."""

    def __init__(self, url: str, wake: Callable[[], None], stopping: threading.Event) -> None:
        self._url, self._wake, self._stopping = url, wake, stopping
        self.is_listening = threading.Event()

    def run(self) -> None:
        delays = _delays()
        while not self._stopping.is_set():
            try:
                connection = self._connect()
                try:
                    delays = _delays()
                    self.is_listening.set()
                    connection.notifies.clear()
                    self._wake()  # what was committed while nobody listened
                    self._listen(connection)
                finally:
                    self.is_listening.clear()
                    connection.close()
            except (psycopg2.Error, TimeoutError, OSError) as error:
                log.warning("not listening, polling goes on: %s", str(error).strip() or type(error).__name__)
                self._stopping.wait(next(delays) * (1 + random.random() / 10))

    def _connect(self) -> Any:
        """A connection that listens, and has shown that a notification from another connection reaches it."""
        connection = nonblocking.open_async(
            self._url, "orchestrator listen", deadline := time.monotonic() + ANSWER_WITHIN_S
        )
        try:
            _execute(connection, f"LISTEN {CHANNEL}", deadline)
            if not self._hears(connection):
                log.error(
                    "LISTEN hears nothing, polling only. Behind a pooler in transaction mode, set DATABASE_DIRECT_URL."
                )
        except BaseException:
            connection.close()
            raise
        return connection

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
            if nonblocking.is_ready(connection, PROVE_EVERY_S):
                connection.poll()
            else:
                _execute(connection, "SELECT 1", time.monotonic() + ANSWER_WITHIN_S)
            if connection.notifies:
                connection.notifies.clear()
                self._wake()


def _execute(connection: Any, sql: str, deadline: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        nonblocking.wait(connection, deadline)


def _delays() -> Any:
    delays = backoff.expo(factor=RECONNECT_FIRST_S, max_value=RECONNECT_AT_MOST_S)
    next(delays)  # it yields a None first
    return delays
