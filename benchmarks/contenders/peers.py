"""The alternatives to Holdfast. Their programs and their Python environment are in benchmarks/peers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.contenders.contender import READY_WITHIN_S, Contender, InPostgres
from benchmarks.contenders.redis import Redis
from benchmarks.contenders.workers import Workers
from benchmarks.patience import until
from benchmarks.stub import Stub

PUT_WITHIN_S = 60


class Peer(Contender):
    """A program with two roles: `feed` submits sagas, `work` runs them."""

    module: str

    def __init__(self, bench: Bench, stub: Stub, python: Path) -> None:
        super().__init__(bench, stub)
        self._python, self._puts = python, 0
        self._feeder: Workers | None = None

    @abstractmethod
    def state_url(self) -> str:
        """The address of its state."""

    def command(self, processes: int) -> Sequence[str | Path]:
        return self._command("work", self.threads[processes])

    def start(self, processes: int) -> None:
        if self._feeder is None:
            log = self.bench.folder / f"{self.label}-feeder"
            self._feeder = Workers(self._command("feed", 4), 1, log, pinned=False, environ={})
            feeder = self._feeder
            until(lambda: feeder.printed("ready"), READY_WITHIN_S, f"{self.name} has made its tables")
        super().start(processes)

    def put(self, sagas: int) -> None:
        feeder = self._feeder
        assert feeder, "not started"
        feeder.tell([str(sagas)])
        self._puts += 1
        until(lambda: feeder.printed("put", self._puts), PUT_WITHIN_S, f"{sagas} sagas handed to {self.name}")

    def close(self) -> None:
        if self._feeder:
            self._feeder.stop()
        super().close()

    def _command(self, role: str, threads: int) -> Sequence[str | Path]:
        return [self._python, "-m", self.module, role, self.state_url(), self.stub.url, str(threads)]


class PostgresPeer(Peer, InPostgres):
    open: str
    """SQL that tells whether work is left."""

    def state_url(self) -> str:
        return self.database_url

    def is_done(self) -> bool:
        return not self.sql(self.open)[0][0]


class Dbos(PostgresPeer):
    name = "DBOS"
    module = "benchmarks.peers.dbos_app"
    # Tried: 4, 8 and 16, each pinned and not; asking for workflows every 10 and 100 ms.
    threads: Mapping[int, int] = {1: 8, 2: 8}
    open = "SELECT EXISTS (SELECT FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))"
    how = (
        "a workflow of four steps from a queue, which each worker asks every 10 ms; synchronous code; a "
        "step's outcome is committed before the next step begins"
    )


class PgQueuer(PostgresPeer):
    name = "PgQueuer"
    module = "benchmarks.peers.pgqueuer_app"
    # Tried: 4, 8, 16 and 32, pinned and not; a larger pool, more tasks for each batch; the call in the event loop.
    threads: Mapping[int, int] = {1: 16, 2: 16}
    open = "SELECT EXISTS (SELECT FROM pgqueuer)"
    how = (
        "four entrypoints on asyncpg and uvloop, the call in a thread; the next job is committed before its "
        "predecessor is finished; batches as large as the concurrency"
    )


class PgQueuerUsual(PgQueuer):
    """The fastest of the chains again, with steps as most people would write them."""

    name = "PgQueuer, usual requests"
    how = "as PgQueuer, but each step makes its call with `Session.request`, while all other peers have the lean client"

    def environ(self, processes: int) -> Mapping[str, str]:
        return {"CLIENT": "usual"}


class Procrastinate(PostgresPeer):
    name = "Procrastinate"
    module = "benchmarks.peers.procrastinate_app"
    # Tried: 4, 8 and 16, pinned and not; finished jobs kept; the call in the event loop.
    threads: Mapping[int, int] = {1: 8, 2: 8}
    open = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    how = (
        "an asynchronous task on psycopg 3, the call in a thread; the next job is committed before its "
        "predecessor is finished; finished jobs are deleted"
    )


class Celery(Peer):
    name = "Celery"
    module = "benchmarks.peers.celery_app"
    # Tried: 4, 8 and 16 threads, pinned and not; prefork with 1 and 2, solo; 4, 16 and 64 messages ahead a thread.
    threads: Mapping[int, int] = {1: 8, 2: 8}
    how = (
        "a chain of tasks in the thread pool; acknowledged late, no results kept; Redis with `appendfsync "
        "everysec`, so that a power cut takes up to a second of steps"
    )

    def __init__(self, bench: Bench, stub: Stub, python: Path) -> None:
        super().__init__(bench, stub, python)
        self._redis, self._answered = Redis(bench.folder / "redis"), 0

    def state_url(self) -> str:
        return self._redis.url

    def store_cpu_s(self) -> float:
        return self._redis.cpu_s()

    def put(self, sagas: int) -> None:
        self._answered = self.stub.answered() + 4 * sagas
        super().put(sagas)

    def is_done(self) -> bool:
        """A task that is being fetched is in neither list, so the calls are counted too."""
        if self.stub.answered() < self._answered:
            return False
        return self._redis.number("LLEN sagas") + self._redis.number("HLEN unacked") == 0

    def close(self) -> None:
        super().close()
        self._redis.close()


CHAINS = (PgQueuer, Procrastinate, Celery)
ALL = (Dbos, *CHAINS, PgQueuerUsual)
