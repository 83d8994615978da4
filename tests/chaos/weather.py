"""The storm: what the plan has for the processes, the database and the network, each at its time."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from local.postgres import EmbeddedPostgres
from tests.chaos.fleet import Fleet, Journal
from tests.chaos.plan import Blow, Plan
from tests.faults.network_faults import Cut, Delay, DelayAnswer, DropAnswer, DropRequest, Repeat
from tests.faults.proxy import OPERATIONS, Call, Fault, Proxy, Rule

LATE_S = 5  # a request whose caller was told that the connection broke arrives so much later all the same
SILENT_S = 12  # longer than the callers' patience, which is 8 s and 10 s
MISHAPS: tuple[tuple[Callable[[], Fault], float], ...] = (  # with its share of what goes wrong on the network
    (DropAnswer, 0.5),
    (DropRequest, 0.15),
    (Cut, 0.1),
    (Repeat, 0.15),
    (lambda: Delay(LATE_S, caller_gives_up=True), 0.07),
    (lambda: DelayAnswer(SILENT_S), 0.03),
)


class Storm:
    """Threads that follow the plan from `begin` to `end`. `log`: where the database's own log is collected."""

    def __init__(self, plan: Plan, fleet: Fleet, server: EmbeddedPostgres, journal: Journal, log: Path) -> None:
        self._plan, self._fleet, self._server, self._journal, self._log = plan, fleet, server, journal, log
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.longest_outage_s = 0.0
        self.trouble: list[BaseException] = []

    def begin(self, began_at: float, freeze_s: float) -> None:
        """:param freeze_s: how long a frozen process stays so"""
        for blows, strike in (
            (self._plan.kills(), self._fleet.strike),
            (self._plan.restarts(), lambda blow: self._restart()),
            (self._plan.freezes(), lambda blow: self._freeze(blow, freeze_s)),
        ):
            thread = threading.Thread(target=self._follow, args=(blows, strike, began_at), daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """What is under way is brought to its end."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, blows: Iterator[Blow], strike: Callable[[Blow], None], began_at: float) -> None:
        try:
            for blow in blows:
                if self._over.wait(began_at + blow.at_s - time.monotonic()):
                    return
                strike(blow)
        except BaseException as error:
            self.trouble.append(error)

    def _restart(self) -> None:
        self._journal.write("restart", "database")
        self.keep_log()
        began = time.monotonic()
        self._server.restart("immediate")
        self.longest_outage_s = max(self.longest_outage_s, time.monotonic() - began)

    def keep_log(self) -> None:
        """What the database has said since its last start; the next start begins a new log."""
        with self._log.open("ab") as collected, self._server.log.open("rb") as latest:
            shutil.copyfileobj(latest, collected)

    def _freeze(self, blow: Blow, seconds: float) -> None:
        self._fleet.freeze(blow.victim)
        self._over.wait(seconds)
        self._fleet.thaw(blow.victim)


class Network:
    """Lets some of the calls that go through the proxy come to grief."""

    def __init__(self, proxy: Proxy, plan: Plan, rate: float) -> None:
        self._proxy = proxy
        chances = {name: plan.chance(f"network of {name}") for name, _, _ in OPERATIONS.values()}
        self._rules: list[tuple[str, Rule]] = []
        for make, share in MISHAPS if rate else ():

            def falls(call: Call, share: float = share) -> bool:
                # A list of its own for each service: the n-th call of it fares alike in every run.
                return chances[OPERATIONS[call.operation][0]].random() < rate * share

            fault = make()
            self._rules.append((type(fault).__name__, proxy.on(*OPERATIONS, do=fault, when=falls)))

    def forget(self) -> None:
        """The proxy keeps every call; a long run has too many."""
        self._proxy.forget()

    def calm(self) -> None:
        self._proxy.heal()

    @property
    def mishaps(self) -> dict[str, int]:
        """How often, by kind."""
        return {name: rule.met for name, rule in self._rules}
