"""The bare loops of limit.py as contenders: no state, no database."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.holdfast import Holdfast


class Limit(Contender):
    kind: str

    def start(self, processes: int) -> None:
        self._processes, self._rounds = processes, 0
        super().start(processes)

    def command(self, processes: int) -> Sequence[str]:
        threads = str(self.threads[processes])
        return [sys.executable, "-m", "benchmarks.contenders.limit", self.kind, self.stub.url, threads]

    def put(self, sagas: int) -> None:
        each = self._processes
        self.running.tell([str(sagas // each + (number < sagas % each)) for number in range(each)])
        self._rounds += 1

    def is_done(self) -> bool:
        return self.running.printed("done", self._rounds)

    def store_cpu_s(self) -> float:
        return 0.0


class UsualLimit(Limit):
    name = "Limit (a)"
    kind = "usual"
    threads: Mapping[int, int] = {1: 16, 2: 8}
    pinned = False  # most people do not pin
    how = "no state: a loop of `session.request(…, json=…)`, a Session for each thread"


class LeanLimit(Limit):
    name = "Limit (b)"
    kind = "lean"
    threads = Holdfast.threads
    how = (
        "no state: requests prepared once and sent again with `session.send`, `trust_env` off, an adapter with"
        " one connection for each thread; processes, threads and pinning as for Holdfast"
    )
