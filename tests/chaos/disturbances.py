"""Disturb the processes, the database and the network at the times that the plan says."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from local.postgres import EmbeddedPostgres
from tests.chaos.database_faults import DatabaseFaults
from tests.chaos.fleet import Fleet, Journal
from tests.chaos.gateway import Gateway
from tests.chaos.listening import ReceiverProcess
from tests.chaos.plan import Disturbance, Plan
from tests.faults.network_faults import Cut, Delay, DelayAnswer, DropAnswer, DropRequest, Repeat
from tests.faults.proxy import NAMED, Call, Fault, Proxy, Rule

LATE_S = 5  # the delay of a request that arrives after its caller was told that the connection broke
SILENT_S = 12  # callers wait for 8 s and 10 s
MISHAPS: tuple[tuple[Callable[[], Fault], float], ...] = (  # with their shares of the failing calls
    (DropAnswer, 0.5),
    (DropRequest, 0.15),
    (Cut, 0.1),
    (Repeat, 0.15),
    (lambda: Delay(LATE_S, caller_gives_up=True), 0.07),
    (lambda: DelayAnswer(SILENT_S), 0.03),
)


class Disturbances:
    """Threads that follow the plan from `begin` to `end`. `log`: where the database's own log is collected."""

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        server: EmbeddedPostgres,
        receiver: ReceiverProcess,
        gateway: Gateway,
        journal: Journal,
        log: Path,
    ) -> None:
        self._plan, self._fleet, self._server, self._receiver = plan, fleet, server, receiver
        self._journal, self._log = journal, log
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.database = DatabaseFaults(server.url, journal, self._over, gateway.allow_refunds)
        self.longest_outage_s = 0.0
        self.trouble: list[BaseException] = []

    def begin(self, began_at: float, freeze_s: float) -> None:
        """:param freeze_s: how long a process that holds leases stays frozen"""
        for planned, disturb in (
            (self._plan.kills(), self._fleet.kill),
            (self._plan.restarts(), lambda each: self._restart()),
            (self._plan.freezes(), lambda each: self._freeze(each.target, freeze_s)),
            (self._plan.hangs(), lambda each: self._freeze(each.target, each.lasts_s)),
            (self._plan.locks(), lambda each: self.database.lock_product(each.target, each.lasts_s)),
            (self._plan.receiver_deaths(), lambda each: self._receiver.die(each.lasts_s, self._over)),
            (self._plan.poisons(), lambda each: self.database.poison(each.lasts_s)),
        ):
            thread = threading.Thread(target=self._follow, args=(planned, disturb, began_at), daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """End every disturbance that has begun."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, planned: Iterator[Disturbance], disturb: Callable[[Disturbance], None], began_at: float) -> None:
        try:
            for each in planned:
                if self._over.wait(began_at + each.at_s - time.monotonic()):
                    return
                disturb(each)
        except BaseException as error:
            self.trouble.append(error)

    def _restart(self) -> None:
        self._journal.write("restart", "database")
        self.keep_log()
        began = time.monotonic()
        self._server.restart("immediate")
        self.longest_outage_s = max(self.longest_outage_s, time.monotonic() - began)

    def keep_log(self) -> None:
        """Collect what the database has logged since its last start; the next start begins a new log."""
        with self._log.open("ab") as collected, self._server.log.open("rb") as latest:
            shutil.copyfileobj(latest, collected)

    def _freeze(self, name: str, seconds: float) -> None:
        self._fleet.freeze(name)
        self._over.wait(seconds)
        self._fleet.thaw(name)


class Network:
    """Make some of the calls through the proxy fail."""

    def __init__(self, proxy: Proxy, plan: Plan, rate: float) -> None:
        self._proxy = proxy
        chances = {name: plan.chance(f"network of {name}") for name, _, _ in NAMED.values()}
        self._rules: list[tuple[str, Rule]] = []
        for make, share in MISHAPS if rate else ():

            def falls(call: Call, share: float = share) -> bool:
                # One random source for each service: its n-th call has the same fate in every run.
                return chances[NAMED[call.operation][0]].random() < rate * share

            fault = make()
            self._rules.append((type(fault).__name__, proxy.on(*NAMED, do=fault, when=falls)))

    def forget(self) -> None:
        """Drop the proxy's record of calls, which would fill the memory in a long run."""
        self._proxy.forget()

    def calm(self) -> None:
        self._proxy.heal()

    @property
    def mishaps(self) -> dict[str, int]:
        """How many calls failed, by kind."""
        return {name: rule.met for name, rule in self._rules}
