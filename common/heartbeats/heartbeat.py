"""Tells the database every few seconds that this process lives, and how it is. A failure here disturbs nothing else."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata

import psycopg2

from common.database import entry_errors
from common.database.database import Database, Row
from common.database.errors import TransientDatabaseError
from common.heartbeats import statements as sql
from common.process.progress import Progress

EVERY_S = 10.0
SILENT_AFTER_S = 30.0  # two beats may be late or lost
HANGS_AFTER_S = 30.0  # beyond a loop's longest wait: longer than any statement or call may take
LOG_EVERY_S = 60.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """The threads of one kind of work."""

    in_flight: int
    threads: int


@dataclass(frozen=True)
class State:
    """How a process is."""

    pools: Mapping[str, Pool]
    loops: Mapping[str, Progress]
    is_listening: bool | None = None
    """Whether notifications arrive. False: it polls only. None: it always polls."""
    open_breakers: list[str] = field(default_factory=list)
    """The participants that it does not call at the moment."""


class Heartbeat:
    """Has a connection of its own, so that it can tell of a process whose other connections all hang."""

    def __init__(
        self, url: str, process: str, instance: str, state: Callable[[], State], stopping: threading.Event
    ) -> None:
        """:param instance: the name by which the process claims; no other has it"""
        self._database = Database(url, name=f"{process} heartbeat", size=1)
        self._same: Row = {
            "instance": instance,
            "process": process,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": metadata.version("holdfast"),
        }
        self._state, self._stopping = state, stopping
        self._started = time.monotonic()
        self._log_at = 0.0
        self._lock = threading.Lock()  # no beat comes after the end
        self._has_ended = False

    def run(self) -> None:
        """Beat until stopped."""
        while not self._stopping.is_set():
            self.beat()
            self._stopping.wait(EVERY_S)

    def beat(self) -> None:
        """Write this process's row. Does not raise: an error here would end the process."""
        try:
            now = self._now()
            with self._lock:
                if not self._has_ended:
                    self._database.all(sql.BEAT, **self._same, **now)
        except Exception as error:  # any error would end the process
            self._log(error)

    def end(self) -> None:
        """Delete this process's row, because it stops as it was told to. Does not raise."""
        with self._lock:
            self._has_ended = True
            try:
                self._database.all(sql.REMOVE, instance=self._same["instance"])
            except Exception as error:  # the process must stop all the same
                self._log(error)

    def _now(self) -> Row:
        state = self._state()
        return {
            "up_s": time.monotonic() - self._started,
            "is_listening": state.is_listening,
            "pools": json.dumps({name: vars(pool) for name, pool in state.pools.items()}),
            "open_breakers": state.open_breakers,
            "loops": json.dumps(
                [{"name": name, "ago_s": loop.ago_s, "every_s": loop.every_s} for name, loop in state.loops.items()]
            ),
        }

    def _log(self, error: Exception) -> None:
        if time.monotonic() < self._log_at:
            return
        self._log_at = time.monotonic() + LOG_EVERY_S
        cause = None if isinstance(error, (TransientDatabaseError, psycopg2.Error)) else error
        log.warning("cannot note that this process lives, will retry: %s", entry_errors.reason(error), exc_info=cause)


def read(database: Database) -> list[Row]:
    """The row of every process, with `is_silent` and `hanging`, the names of its loops that hang."""
    return database.all(sql.ALL, silent_after_s=SILENT_AFTER_S, hangs_after_s=HANGS_AFTER_S)
