"""The threads of the clients, and the queue of what they do, each task at its time."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import requests

from holdfast_client import HoldfastClient
from tests.chaos.clientlog import ClientLog, Recorder

RETRY_FOR_S = 1  # by the client itself; then the task waits for its turn and the buyer serves another one
PATIENCE_S = (2.0, 10.0)  # to connect, and to read
GIVES_UP_AFTER_S = 0.02
CLOSES_WITHIN_S = 3  # then clients that still wait are abandoned


@dataclass(frozen=True)
class Buyer:
    patient: HoldfastClient
    impatient: HoldfastClient


Task = Callable[[Buyer], None]


class Buyers:
    """`url`: of the Edge API. Times are of `time.monotonic()`. Tasks can be added before the threads start."""

    def __init__(self, url: str, log: ClientLog, number: int) -> None:
        self._url, self._log = url, log
        self._tasks: list[tuple[float, int, Task]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._busy = 0
        self._closed = False
        self.trouble: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(number)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSES_WITHIN_S
        for thread in self._threads:
            if thread.ident:
                thread.join(max(0, deadline - time.monotonic()))

    def after(self, seconds: float, task: Task) -> None:
        self.at(time.monotonic() + seconds, task)

    def at(self, due: float, task: Task) -> None:
        with self._changed:
            heapq.heappush(self._tasks, (due, next(self._numbers), task))
            self._changed.notify()

    @property
    def are_idle(self) -> bool:
        """Whether nothing is left to do."""
        with self._changed:
            return not self._tasks and not self._busy

    def _next(self) -> Task | None:
        """Wait for the next task; None: closed."""
        with self._changed:
            while not self._closed:
                left = self._tasks[0][0] - time.monotonic() if self._tasks else None
                if left is not None and left <= 0:
                    self._busy += 1
                    return heapq.heappop(self._tasks)[2]
                self._changed.wait(left)
        return None

    def _work(self) -> None:
        options: dict[str, Any] = {"trust_env": False, "session": self._recorded}
        patient = HoldfastClient(self._url, timeout=PATIENCE_S, retry_for=RETRY_FOR_S, **options)
        impatient = HoldfastClient(self._url, timeout=(2, GIVES_UP_AFTER_S), retry_for=0, **options)
        with patient, impatient:
            while task := self._next():
                try:
                    task(Buyer(patient, impatient))
                except BaseException as error:
                    self.trouble.append(error)
                finally:
                    with self._changed:
                        self._busy -= 1

    def _recorded(self) -> requests.Session:
        return recorded(self._log)


def recorded(log: ClientLog) -> requests.Session:
    """A session whose calls are logged."""
    session = requests.Session()
    session.mount("http://", Recorder(log))
    return session
