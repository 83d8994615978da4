"""What the engine benchmark needs of whoever runs sagas: start, hand in sagas, know when they are done, stop."""

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
    """One way to run the saga of four calls. Its tables are its own; server, stub and machine are everybody's."""

    name: str
    how: str
    """How it runs the saga, for the report: the best of what was tried."""
    threads: Mapping[int, int]
    """What each process may do at once, by how many processes there are: the best of what was tried."""
    pinned = True
    """Each process to a core, where that was better."""
    ready = "ready"
    """What a worker process prints when it waits for work."""

    def __init__(self, bench: Bench, stub: Stub) -> None:
        self.bench, self.stub = bench, stub
        self.workers: Workers | None = None

    @abstractmethod
    def command(self, processes: int) -> Sequence[str | Path]:
        """Of one worker process, where so many run."""

    @abstractmethod
    def put(self, sagas: int) -> None:
        """Hand in so many at once; returns when they are committed, and the time runs from then on."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether all that was handed in has ended well."""

    def has_done_all(self) -> bool:
        """As `is_done`, of workers that live.

        :raises ProcessDied: where one has ended
        """
        self.running.check()
        return self.is_done()

    def environ(self, processes: int) -> Mapping[str, str]:
        return {}

    def store_cpu_s(self) -> float:
        """CPU seconds so far of the server that keeps the state."""
        return cpu_seconds(self.bench.server.pid)

    def start(self, processes: int) -> None:
        self.workers = Workers(
            self.command(processes),
            processes,
            self.bench.folder / self.label,
            pinned=self.pinned,
            environ=self.environ(processes),
        )
        until(lambda: self.running.printed(self.ready), READY_WITHIN_S, f"{self.name} is ready")

    def stop(self) -> None:
        if self.workers:
            self.workers.stop()
            self.workers = None

    def close(self) -> None:
        """End it, and all that it has held since it was made."""
        self.stop()

    @property
    def label(self) -> str:
        """For files."""
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
    """One that keeps its state in a database of the shared server."""

    migrated = False

    def __init__(self, bench: Bench, stub: Stub) -> None:
        super().__init__(bench, stub)
        self.database_url = bench.database_url(migrated=self.migrated)
        self._connection = psycopg2.connect(self.database_url)
        self._connection.autocommit = True

    def start(self, processes: int) -> None:
        self.sql(
            "VACUUM ANALYZE"
        )  # each begins without the dead rows of its last round, which autovacuum may not reach
        super().start(processes)

    def close(self) -> None:
        self._connection.close()
        super().close()

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
