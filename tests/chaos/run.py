"""One run: start the system, send orders during disturbances, wait until all have ended, check the books."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import requests

from common.schema import migrate
from local.postgres import EmbeddedPostgres
from local.terminal import StopRequest
from tests.books import violations
from tests.chaos.clientlog import ClientLog
from tests.chaos.disturbances import Disturbances, Network
from tests.chaos.figures import Figures, add_deliveries, add_endings, add_wishes, kills_by_process
from tests.chaos.findings import AUDIT, LEFT, RUN, STOP, WRONG, Finding
from tests.chaos.fleet import Fleet, Journal
from tests.chaos.gateway import Settlements, gateway_of
from tests.chaos.judging import judge, read_evidence
from tests.chaos.listening import ReceiverProcess, Staff
from tests.chaos.operator_promises import FILE as CLICKS
from tests.chaos.operators import NAME, Operators
from tests.chaos.options import Options
from tests.chaos.plan import CONSOLE, GATEWAY, GIVES_UP, MARKED_WITHIN_S, ORCHESTRATORS, WEBHOOKS, Plan
from tests.chaos.report import Progress
from tests.chaos.shop import Shop
from tests.chaos.standing import standing
from tests.console.desk import new_key
from tests.system.stack import PROJECT, Stack

LOOKS_EVERY_S = 0.25
AUDITS_EVERY_S = 5
REST = 0.02  # the storm ends when all orders have begun and no more than this share is unfinished
REPLAYS = 200  # orders that are sent once more at the end
REPLAYED_WITHIN_S = 60
RECONCILES_WITHIN_S = 300
STUCK = "stuck"  # the only rule about time: in the storm, orders wait for processes that are down
ANSWERS_WITHIN_S = 60  # before the storm: a second, and much longer on a busy machine
ON_THIS_MACHINE = {"WEBHOOK_ALLOW_NETWORKS": "127.0.0.1"}


class Interrupted(Exception):
    """The run was stopped with Ctrl-C."""


class Run:
    """:param pace: the services' settings that say how long they wait"""

    def __init__(self, options: Options, pace: Mapping[str, str], folder: Path, stop: StopRequest) -> None:
        self._options, self._pace, self._folder, self._stop = options, pace, folder, stop
        self._plan = Plan(options)
        self._progress = Progress()
        self._figures = Figures(options.seed)
        self._begun_at = datetime.now(UTC)
        self._audit_trouble: list[BaseException] = []

    def run(self) -> Figures:
        """:raises Interrupted: on Ctrl-C, after everything has been stopped"""
        with ExitStack() as parts:
            self._build(parts)
            self._storm()
            self._quiet()
            self._replay()
            self._reconcile()
            self._shop.close()
            self._staff.stop()
            self._operators.stop()
            self._settlements.stop()
            codes = self._fleet.stop()
            self._compare(codes)
            self._disturbances.keep_log()
        return self._figures

    def _build(self, parts: ExitStack) -> None:
        """Start everything; it stops with `parts`."""
        parts.callback(self._progress.end)
        self._progress.show("starting")
        self._server = parts.enter_context(EmbeddedPostgres(self._folder / "postgres"))
        self._url = self._server.url
        migrate.upgrade(self._url)
        self._journal = parts.enter_context(closing(Journal(self._folder / "storm.jsonl")))
        self._gateway = gateway_of(self._options, self._folder)
        parts.callback(self._gateway.stop)
        environ = {"LOG_FORMAT": "json", **ON_THIS_MACHINE, **self._pace, **self._gateway.environ}
        self._stack = Stack(self._url, self._folder, proxied=True, **environ)
        parts.callback(self._stack.proxy.close)
        self._gateway.start(self._stack.url("payments_service"))
        self._fleet = Fleet(self._stack, self._journal, self._gateway.storm)
        parts.callback(self._fleet.stop)
        self._fleet.start()
        self._log = parts.enter_context(closing(ClientLog(self._folder / "clients.jsonl")))
        self._shop = Shop(self._stack.proxy.url("web"), self._products(), self._log, self._options.buyers)
        parts.callback(self._shop.close)
        self._settlements = Settlements(self._gateway.settle)
        parts.callback(self._settlements.stop)
        self._settlements.start()
        self._listen(parts)
        self._operate(parts)
        self._network = Network(self._stack.proxy, self._plan, self._options.vanish_rate)
        self._disturbances = Disturbances(
            self._plan,
            self._fleet,
            self._server,
            self._receiver,
            self._gateway,
            self._journal,
            self._folder / "postgres.log",
        )
        parts.callback(self._disturbances.end)

    def _listen(self, parts: ExitStack) -> None:
        rate = self._options.receiver_failure_rate
        self._receiver = ReceiverProcess(self._folder, self._journal, self._options.seed, rate)
        parts.callback(self._receiver.stop)
        self._receiver.start()
        self._staff = Staff(self._stack.proxy.url("web"), self._log)
        parts.callback(self._staff.stop)
        self._staff.start(self._receiver.url)

    def _operate(self, parts: ExitStack) -> None:
        names = [f"{NAME}{number + 1}" for number in range(self._options.operators)]
        keys = {name: new_key(self._url, "operator", name) for name in names}
        log = parts.enter_context(closing(ClientLog(self._folder / CLICKS)))
        self._operators = Operators(self._stack.url(CONSOLE), keys, self._options.seed, log)
        parts.callback(self._operators.stop)
        self._operators.start()

    def _products(self) -> dict[str, str]:
        ids = {}
        for product in self._plan.products:
            body = {"name": product.sku, "sku": product.sku, "price_cents": product.price_cents}
            url = f"{self._stack.url('inventory_service')}/inventory/products"
            answer = requests.post(url, json=body | {"initial_stock": product.stock}, timeout=ANSWERS_WITHIN_S)
            answer.raise_for_status()
            ids[product.sku] = str(answer.json()["id"])
        return ids

    def _storm(self) -> None:
        began_at = time.monotonic()
        self._shop.open(self._plan.orders(), began_at)
        self._disturbances.begin(began_at, freeze_s=1.1 * self._longest_lease_s() + 0.5)
        with self._audits():
            self._wait("storm", self._is_spent, began_at, self._options.seconds)
            self._shop.begin_no_more()
            self._disturbances.end()
        self._figures.storm_s = time.monotonic() - began_at
        self._progress.show("calming down")
        self._network.calm()
        self._receiver.calm()
        self._gateway.calm()
        self._fleet.calm()
        self._staff.hurry()
        self._operators.calm()

    def _longest_lease_s(self) -> float:
        return max(float(self._pace["LEASE_S"]), float(self._pace["WEBHOOK_LEASE_S"]))

    def _is_spent(self) -> bool:
        still = standing(self._url)
        if still is None or self._shop.begun < self._options.orders:
            return False
        return self._shop.unanswered + still.orders + still.refunds <= max(3, REST * self._options.orders)

    def _quiet(self) -> None:
        self._quiet_at, began_at = time.time(), time.monotonic()
        self._wait("quiet", self._has_settled, began_at, self._options.quiet_s)
        self._figures.quiet_s = time.monotonic() - began_at

    def _has_settled(self) -> bool:
        self._disturbances.database.operate()
        return self._has_ended()

    def _has_ended(self) -> bool:
        still = standing(self._url)
        if not (self._shop.is_idle and self._operators.are_idle) or still is None:
            return False
        return still[:3] == (0, 0, 0) and self._staff.seen == still.events

    def _replay(self) -> None:
        """Send some orders once more, and what was asked for afterwards: the answers must not change.

        A refund that was refused before its order had ended may be accepted now.
        """
        begun = itertools.islice(self._plan.orders(), self._shop.begun)
        answered = [order for order in begun if order.behaviour != GIVES_UP]
        self._shop.replay(answered[:: max(1, len(answered) // REPLAYS)])
        self._wait("replay", self._has_ended, time.monotonic(), REPLAYED_WITHIN_S)

    def _wait(self, phase: str, is_over: Callable[[], bool], began_at: float, limit_s: float) -> None:
        """Wait until it is over, the limit is reached, or the run itself has failed."""
        while not (self._trouble() or is_over() or time.monotonic() - began_at > limit_s):
            if self._stop.made:
                raise Interrupted
            self._network.forget()
            self._progress.show(f"{phase} {time.monotonic() - began_at:4.0f} s: {self._standing()}")
            time.sleep(LOOKS_EVERY_S)

    def _standing(self) -> str:
        still = standing(self._url)
        return (
            f"{self._shop.begun} of {self._options.orders} orders begun, {self._shop.unanswered} unanswered, "
            f"{still or 'database down'}, {self._kills()} kills, "
            f"{self._journal.total('restart')} restarts"
        )

    def _kills(self) -> int:
        return sum(number for (what, _), number in self._journal.counts.copy().items() if what.startswith("kill "))

    def _trouble(self) -> list[BaseException]:
        parts = (self._shop, self._fleet, self._disturbances, self._staff, self._operators, self._settlements)
        return [*(error for part in parts for error in part.trouble), *self._audit_trouble]

    @contextmanager
    def _audits(self) -> Iterator[None]:
        """Audit repeatedly in the meantime: the rules hold at any moment."""
        over = threading.Event()
        thread = threading.Thread(target=self._audit_until, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _audit_until(self, over: threading.Event) -> None:
        pause_s: float = AUDITS_EVERY_S
        while not over.wait(pause_s):
            try:
                found = violations(self._url, at_rest=False)
                found.pop(STUCK, None)
                self._add_audit(found, "in the storm")
                self._figures.audits_in_storm += 1
                pause_s = AUDITS_EVERY_S
            except Exception as error:  # otherwise the thread would die unnoticed and the audits stop
                if not _is_away(error):
                    self._audit_trouble.append(error)
                    return
                pause_s = LOOKS_EVERY_S

    def _add_audit(self, found: Mapping[str, list[tuple[str, str]]], when: str) -> None:
        for name, rows in found.items():
            self._figures.findings += [Finding(AUDIT, str(row[0]), f"{name}, {when}: {row[1]}") for row in rows]

    def _reconcile(self) -> None:
        """Run `python -m ops reconcile` over the whole run, as an operator does."""
        begun = f"{self._begun_at - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
        done = subprocess.run(
            [sys.executable, "-m", "ops", "reconcile", "--from", begun],
            cwd=PROJECT,
            env={
                **os.environ,
                "DATABASE_URL": self._url,
                "PAYMENTS_SERVICE_URL": self._stack.url("payments_service"),
            },
            capture_output=True, text=True, timeout=RECONCILES_WITHIN_S, check=False,
        )  # fmt: skip
        (self._folder / "reconcile.txt").write_text(done.stdout + done.stderr)
        if done.returncode:
            told = (done.stdout or done.stderr).partition("\n")[0]
            self._figures.findings.append(Finding(WRONG, "", f"reconcile, exit code {done.returncode}: {told}"))

    def _compare(self, codes: Mapping[str, int | None]) -> None:
        figures, evidence = self._figures, read_evidence(self._folder, self._url)
        promised, books = evidence.promised, evidence.books
        audit = violations(self._url)
        self._add_audit(audit, "at the end")
        figures.audit_rows = sum(map(len, audit.values()))
        figures.findings += judge(evidence)
        figures.gateway = self._gateway.figures()
        figures.findings += [Finding(RUN, "", repr(error)) for error in self._trouble()]
        figures.findings += [Finding(LEFT, "", sentence) for sentence in self._fleet.left]
        figures.findings += [Finding(STOP, name, f"exit code {code}") for name, code in codes.items() if code != 0]
        for id_ in self._disturbances.database.unmarked:
            figures.findings.append(Finding(WRONG, id_, f"poisoned for {MARKED_WITHIN_S} s, and not marked"))
        figures.orders, figures.given_up, figures.unanswered = (
            self._shop.begun,
            self._shop.given_up,
            self._shop.unanswered,
        )
        figures.answers = dict(promised.answers)
        figures.kills = kills_by_process(self._journal.counts)
        figures.restarts, figures.freezes = (
            self._journal.total("restart"),
            self._journal.total("freeze", *ORCHESTRATORS, *WEBHOOKS),
        )
        figures.hangs, figures.locks = self._journal.total("freeze", GATEWAY), self._journal.total("lock")
        figures.poisoned, figures.marked = self._journal.total("poison"), self._journal.total("marked")
        figures.longest_restart_s = self._disturbances.longest_outage_s
        figures.mishaps = self._network.mishaps
        figures.receiver_deaths, figures.staff = self._journal.total("die"), dict(self._staff.done)
        figures.operators = evidence.clicks.counts()
        add_endings(figures, self._url, self._quiet_at)
        add_wishes(figures, promised, books)
        add_deliveries(figures, evidence.received, books)
        figures.save(self._folder / "figures.json")
        with (self._folder / "findings.jsonl").open("w") as lines:
            lines.writelines(json.dumps(asdict(finding)) + "\n" for finding in figures.findings)


def _is_away(error: BaseException) -> bool:
    """Whether the database is down or going down. After a crash, psycopg2 may raise its base class."""
    return (
        isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or type(error) is psycopg2.DatabaseError
    )
