"""The interface of a contender in the engine benchmark: start, submit sagas, tell when they are done, stop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.bench import Bench
from benchmarks.contenders.workers import Workers
from benchmarks.patience import until
from benchmarks.processes import cpu_seconds
from benchmarks.stub import Stub

READY_WITHIN_S = 30


class Contender(ABC):
    """One way to run the saga of four calls. It has its own tables, and shares the server, the stub and the machine."""

    name: str
    how: str
    """How it runs the saga, for the report: the best setting that was tried."""
    threads: Mapping[int, int]
    """Threads of each process by number of processes: the best setting that was tried."""
    pinned = True
    """Whether each process is pinned to a core: the better of both."""
    ready = "ready"
    """What a worker process prints when it is ready for work."""

    def __init__(self, bench: Bench, stub: Stub) -> None:
        self.bench, self.stub = bench, stub
        self.workers: Workers | None = None

    @abstractmethod
    def command(self, processes: int) -> Sequence[str | Path]:
        """Return the command of one of this many worker processes."""

    @abstractmethod
    def put(self, sagas: int) -> None:
        """Submit this many sagas at once. The time is measured from its return, when they are committed."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether all sagas have succeeded."""

    def has_done_all(self) -> bool:
        """Whether all sagas have succeeded and all workers are alive.

        :raises ProcessDied: if one has exited
        """
        self.running.check()
        return self.is_done()

    def environ(self, processes: int) -> Mapping[str, str]:
        return {}

    def store_cpu_s(self) -> float:
        """CPU seconds so far of the server that stores the state."""
        return cpu_seconds(self.bench.server.pid)

    def start(self, processes: int) -> None:
        self.workers = Workers(
            self.command(processes),
            processes,
            self.bench.folder / self.label,
            pinned=self.pinned,
            environ=self.environ(processes),
            checkout=self.bench.checkout,
        )
        until(lambda: self.running.printed(self.ready), READY_WITHIN_S, f"{self.name} is ready")

    def stop(self) -> None:
        if self.workers:
            self.workers.stop()
            self.workers = None

    def close(self) -> None:
        """Stop it and release what it holds."""
        self.stop()

    @property
    def label(self) -> str:
        """A name for files."""
        return type(self).__name__.lower()

    @property
    def setting(self) -> str:
        """A sentence for the report."""
        pinned = "each process pinned to a core" if self.pinned else "not pinned"
        return f"{self.how}; {self.threads[1]} at once in one process, {self.threads[2]} in each of two; {pinned}."

    @property
    def running(self) -> Workers:
        assert self.workers, "not started"
        return self.workers


class InPostgres(Contender):
    """A contender that stores its state in a database of the shared server."""

    migrated = False

    def __init__(self, bench: Bench, stub: Stub) -> None:
        super().__init__(bench, stub)
        self.database_url = bench.database_url(migrated=self.migrated)
        self._connection = psycopg2.connect(self.database_url)
        self._connection.autocommit = True

    def start(self, processes: int) -> None:
        self.sql("VACUUM ANALYZE")  # removes the dead rows of the last round, which autovacuum may not reach
        super().start(processes)

    def close(self) -> None:
        self._connection.close()
        super().close()

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
