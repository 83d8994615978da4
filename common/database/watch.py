"""Cut a database connection that has been in use for longer than any transaction may take.

The server's own limits, such as statement_timeout, end a slow statement. They cannot end the wait for a server that is
frozen while its host keeps the connection alive, and libpq has no limit for that wait.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg2

LIMIT_S = 10.0  # twice the statement_timeout
LOOK_EVERY_S = 1.0


class _Watch:
    """One thread for all connections of this process. It starts with the first of them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start afresh in a forked process: it has no thread yet, and must not cut its parent's connections."""
        self._busy: dict[int, tuple[Any, float]] = {}
        self._lock = threading.Lock()
        self._has_thread = False

    def add(self, connection: Any) -> None:
        with self._lock:
            self._busy[id(connection)] = connection, time.monotonic() + LIMIT_S
            if not self._has_thread:
                threading.Thread(target=self._run, name="database watch", daemon=True).start()
                self._has_thread = True

    def remove(self, connection: Any) -> None:
        with self._lock:
            del self._busy[id(connection)]

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            with self._lock:  # while it is held, none of these returns to its pool
                for connection, limit in self._busy.values():
                    if now > limit and not connection.closed:
                        _cut(connection)


_watch = _Watch()
os.register_at_fork(after_in_child=_watch.forget)


class watched:  # lower case, because it is used like a function
    """Within its block, a wait for `connection` of more than LIMIT_S seconds ends with a lost connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        _watch.add(self._connection)

    def __exit__(self, *_: object) -> None:
        _watch.remove(self._connection)


def _cut(connection: Any) -> None:
    with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
