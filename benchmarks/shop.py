"""A shop on the running system: it has products, sends orders for them and reads their outcome."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.ledger import Outcome, outcome, wait_until_all_ended
from benchmarks.load import Load, post
from benchmarks.processes import ORCHESTRATOR, WEB, System

WARM_UP_S, WARM_UP_CLIENTS = 1, 8  # opens connections and uses every thread once


@dataclass(frozen=True)
class Shop:
    system: System
    database_url: str
    products: Sequence[str]

    def send(self, seconds: float, *, clients: int = 1, rate: float | None = None) -> Load:
        """Post orders without waiting for their end."""
        return post(self.system.url("web"), self.products, seconds, clients=clients, rate=rate)

    def order(self, seconds: float, *, clients: int = 1, rate: float | None = None) -> Outcome:
        """Post orders and wait until all are `COMPLETED`."""
        return outcome(self.database_url, self.send(seconds, clients=clients, rate=rate), self.system.check)

    def wait(self) -> None:
        """Wait until no order is open."""
        wait_until_all_ended(self.database_url, self.system.check)

    def start_orchestrator(self) -> None:
        self.system.start(ORCHESTRATOR)


@contextmanager
def open_shop(bench: Bench, products: int, **environ: str) -> Iterator[Shop]:
    """A new database and the four services, warmed up; the orchestrator is not running yet."""
    url, folder = bench.database_url(), Path(tempfile.mkdtemp(prefix="system-", dir=bench.folder))
    few = {"WEB_CONCURRENCY": "1"} if bench.short else {}  # halves the time to start
    with System(url, folder, few | environ, checkout=bench.checkout) as system:
        system.start(*WEB)
        shop = Shop(system, url, system.add_products(products))
        shop.send(0.2 if bench.short else WARM_UP_S, clients=WARM_UP_CLIENTS)
        yield shop
