"""Lets requests wait until something is finished. One statement serves all of them.

One thread per process checks everything that requests wait for. If the server can park a request, it holds no thread
meanwhile; otherwise a bounded number of requests hold one each.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from common.database.errors import TransientDatabaseError

CAN_PARK = "holdfast.can_park"
"""In the WSGI environment: True if the server handles `Parked`, False if it has no room. Absent with other servers."""
IS_RESUMED = "holdfast.is_resumed"
"""In the WSGI environment: the request was parked and has been resumed."""
HAS_GONE = "holdfast.has_gone"
"""In the WSGI environment: a callable that tells whether the client has closed the connection."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.25  # a saga takes about 50 ms; slow ones are checked less and less often
log = logging.getLogger(__name__)


class Parked(BaseException):
    """Ends the processing of a request, which restarts when `subscribe`'s callback is called.

    Not an `Exception`, so that no error handler responds to it.
    """

    def __init__(self, subscribe: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """:param subscribe: takes the callback, and returns a function that cancels it"""
        super().__init__()
        self.subscribe = subscribe


@dataclass(eq=False)
class _Wait:
    key: str
    deadline: float  # as all times here: on the monotonic clock, in seconds
    wake: Callable[[], None]
    has_gone: Callable[[], bool]
    pause: float = FIRST_PAUSE_S
    next_look: float = field(default_factory=lambda: time.monotonic() + FIRST_PAUSE_S)


class Waits:
    """The waiting requests of this process. Thread-safe."""

    def __init__(
        self,
        finished: Callable[[Collection[str]], Collection[str]],
        threads: int,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        :param finished: returns the keys that are finished
        :param threads: how many requests may hold a thread if the server cannot park them
        :param is_stopping: ends all waits
        """
        self._finished, self._is_stopping = finished, is_stopping
        self._threads = threading.Semaphore(threads)
        self._waits: set[_Wait] = set()
        self._changed = threading.Condition()
        self._has_thread = False

    def wait(self, key: str, seconds: float, environ: dict[str, Any]) -> bool:
        """Wait until `key` is finished, the time is up, the client has disconnected or the process stops.

        :returns: False if there is no room for another wait
        :raises Parked: to the server, which calls the application again with IS_RESUMED
        """
        if environ.get(IS_RESUMED):
            return True
        deadline = time.monotonic() + seconds
        if CAN_PARK in environ:
            if not environ[CAN_PARK]:
                return False
            raise Parked(lambda wake: self._add(_Wait(key, deadline, wake, lambda: False)))
        if not self._threads.acquire(blocking=False):
            return False
        try:
            finished = threading.Event()
            cancel = self._add(_Wait(key, deadline, finished.set, environ.get(HAS_GONE, lambda: False)))
            finished.wait(seconds)
            cancel()
        finally:
            self._threads.release()
        return True

    def _add(self, wait: _Wait) -> Callable[[], None]:
        with self._changed:
            self._waits.add(wait)
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._run, name="waits", daemon=True).start()
            self._changed.notify()
        return lambda: self._remove(wait)

    def _remove(self, wait: _Wait) -> None:
        with self._changed:
            self._waits.discard(wait)

    def _run(self) -> None:
        while True:
            self._pause()
            with self._changed:
                waits = list(self._waits)
            for wait in self._ended(waits):
                self._remove(wait)
                wait.wake()

    def _pause(self) -> None:
        """Sleep until the next check is due: that of the youngest wait, because pauses grow with age."""
        with self._changed:
            while not self._waits or (left := min(w.next_look for w in self._waits) - time.monotonic()) > 0:
                self._changed.wait(left if self._waits else None)

    def _ended(self, waits: list[_Wait]) -> list[_Wait]:
        """Check all of them with one statement."""
        try:
            finished = set(self._finished({wait.key for wait in waits})) if waits else set()
        except TransientDatabaseError as error:
            log.debug("cannot look at what is waited for: %s", error)
            finished = set()
        now, is_stopping = time.monotonic(), self._is_stopping()
        for wait in waits:
            wait.pause = min(wait.pause * 1.5, LONGEST_PAUSE_S)
            wait.next_look = now + wait.pause
        return [
            wait for wait in waits if wait.key in finished or now >= wait.deadline or is_stopping or wait.has_gone()
        ]
