"""The threads of a process without a server, and its end: by a signal, or because one of its threads died."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress


class Threads:
    """They run until the process ends. The supervisor starts a new process."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.stopping = threading.Event()
        self.has_failed = False
        """Whether a thread died."""

    def start(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=self._watched, args=(name, work), name=name, daemon=True).start()

    def stop(self) -> None:
        """Make `wait` return. Safe to call from any thread."""
        with suppress(BlockingIOError):  # the pipe is full of such requests
            os.write(self._writer, b"\0")

    def stop_on_signals(self) -> None:
        """Have the C level write to the pipe, whichever thread the signal interrupts.

        A handler in Python must not set an Event: it would wait for the lock that the interrupted code may hold.
        """
        signal.set_wakeup_fd(self._writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def wait(self) -> None:
        """Wait for `stop`, a signal, or the end of a thread. From then on, the process is stopping."""
        os.read(self._reader, 1)
        self.stopping.set()

    def _watched(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self._log.critical("the %s thread died", name, exc_info=True)
            self.has_failed = True
        finally:
            self.stop()


def drained(drain: Callable[[], None], within_s: float) -> bool:
    """Whether `drain` has ended in time. It goes on in its thread."""
    thread = threading.Thread(target=drain, name="drain", daemon=True)
    thread.start()
    thread.join(within_s)
    return not thread.is_alive()
