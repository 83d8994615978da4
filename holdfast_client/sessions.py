"""HTTP sessions for any number of threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests


class Sessions:
    """Lends each call its own session, because a `requests.Session` is not thread-safe.

    A returned session is used again, with the connections it keeps alive. There are never more than calls in flight.
    """

    def __init__(self, make: Callable[[], requests.Session]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[requests.Session] = []
        self._owner = os.getpid()
        self._is_closed = False

    @contextmanager
    def borrow(self) -> Iterator[requests.Session]:
        session = self._take() or self._make()
        try:
            yield session
        finally:
            self._give_back(session)

    def close(self) -> None:
        """Close the idle sessions now, and the others when they are returned."""
        with self._lock:
            idle, self._idle, self._is_closed = self._idle, [], True
        for session in idle:
            session.close()

    def _take(self) -> requests.Session | None:
        with self._lock:
            if self._owner != os.getpid():  # a fork copied our sockets, and the parent still uses them
                self._idle, self._owner = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _give_back(self, session: requests.Session) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(session)
                return
        session.close()
