"""The processes: restarted as a supervisor would, and disturbed as the plan says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.plan import CONSOLE, MASTER, ORCHESTRATORS, WEBHOOKS, WHOLE, WORKER, Disturbance
from tests.system.stack import WEB_PROCESSES, WITH_PORTS, Stack
from tests.waiting import eventually

LOOKS_EVERY_S = 0.05  # the supervisor's interval
READY_WITHIN_S = 120  # a start takes 2 s, and much longer on a busy machine
# A killed master's workers hold the port until they notice, and a new master gives up after 5 s. On a busy machine that
# takes several starts.
PORT_IS_FREE_AFTER_S = 120
STOPS_WITHIN_S = 25  # as promised
NAMES = (*WEB_PROCESSES, *ORCHESTRATORS, *WEBHOOKS, CONSOLE)


class Journal:
    """The disturbances, counted and written as JSON lines. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1)
        self.counts: Counter[tuple[str, str]] = Counter()
        """By kind and target."""

    def write(self, what: str, target: str, **facts: Any) -> None:
        line = json.dumps({"at": round(time.time(), 3), "what": what, "target": target, **facts})
        with self._lock:
            self.counts[what, target] += 1
            self._file.write(line + "\n")

    def total(self, kind: str, *targets: str) -> int:
        """How many of a kind there were; `targets`: only of these."""
        with self._lock:
            counts = self.counts.copy()
        return sum(n for (what, target), n in counts.items() if what == kind and (not targets or target in targets))

    def close(self) -> None:
        self._file.close()


class Fleet:
    """The stack's processes. `storm`: extra environment of a process, by name, until `calm()`."""

    def __init__(self, stack: Stack, journal: Journal, storm: dict[str, dict[str, str]]) -> None:
        self._stack, self._journal, self._environ = stack, journal, storm
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._killed: set[int] = set()
        self._orphans: set[tuple[int, str]] = set()
        self._masters_killed_at: dict[str, float] = {}
        self._frozen: dict[str, list[int]] = {}
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self.trouble: list[BaseException] = []
        self.left: list[str] = []
        """One sentence for each process that exited without having been killed."""

    def start(self) -> None:
        for name in NAMES:
            self._launch(name)
        self.wait_until_ready()
        self._thread.start()

    def wait_until_ready(self) -> None:
        for name in NAMES:
            eventually(lambda name=name: self._is_ready(name), READY_WITHIN_S)

    def kill(self, planned: Disturbance) -> None:
        """Kill the target, unless it is down already."""
        with self._lock:
            process = self._stack.processes[planned.target]
            workers = self._workers(planned.target)
            if process.poll() is not None or (planned.way == WORKER and not workers):
                self._journal.write("missed", planned.target, way=planned.way)
                return
            victims = {
                WHOLE: [process.pid, *workers],
                MASTER: [process.pid],
                WORKER: workers[int(planned.pick * len(workers)) :][:1],
            }[planned.way]
            if planned.way == MASTER:
                self._masters_killed_at[planned.target] = time.monotonic()
                self._orphans.update((pid, _born(pid)) for pid in workers)
            self._killed.update(victims)
            for pid in victims:
                _send(pid, signal.SIGKILL)
        self._journal.write(f"kill {planned.way}", planned.target, pids=victims)

    def freeze(self, name: str) -> None:
        """Stop the process and its workers without ending them."""
        with self._lock:
            pids = [self._stack.processes[name].pid, *self._workers(name)]
            self._frozen[name] = pids
            for pid in pids:
                _send(pid, signal.SIGSTOP)
        self._journal.write("freeze", name, pids=pids)

    def thaw(self, name: str) -> None:
        with self._lock:
            for pid in self._frozen.pop(name, []):
                _send(pid, signal.SIGCONT)
        self._journal.write("thaw", name)

    def calm(self) -> None:
        """Bring everything up; processes with an extra environment restart without it."""
        for name in tuple(self._frozen):
            self.thaw(name)
        changed, self._environ = tuple(self._environ), {}
        for name in changed:
            with self._lock:
                process = self._stack.processes[name]
                self._killed.add(process.pid)
                process.terminate()
            process.wait(STOPS_WITHIN_S)
        self.wait_until_ready()

    def stop(self) -> dict[str, int | None]:
        """Stop all processes with SIGTERM. :returns: their exit codes; None for one that had to be killed"""
        self._stopping.set()
        with suppress(RuntimeError):  # the thread was never started
            self._thread.join()
        for name in tuple(self._frozen):
            self.thaw(name)
        processes = dict(self._stack.processes)
        for process in processes.values():
            process.terminate()
        deadline = time.monotonic() + STOPS_WITHIN_S
        codes: dict[str, int | None] = {}
        for name, process in processes.items():
            try:
                codes[name] = process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                codes[name] = None
                for pid in (process.pid, *self._workers(name)):
                    _send(pid, signal.SIGKILL)
        for pid, born in self._orphans:
            if born and _born(pid) == born:
                _send(pid, signal.SIGKILL)
        return codes

    def _supervise(self) -> None:
        try:
            while not self._stopping.wait(LOOKS_EVERY_S):
                for name in NAMES:
                    with self._lock:
                        code = self._stack.processes[name].poll()
                        if code is not None:
                            self._note_end(name, self._stack.processes[name].pid, code)
                            self._launch(name)
        except BaseException as error:
            self.trouble.append(error)

    def _note_end(self, name: str, pid: int, code: int) -> None:
        if pid in self._killed:
            return
        since = time.monotonic() - self._masters_killed_at.get(name, float("-inf"))
        if since > PORT_IS_FREE_AFTER_S:
            self.left.append(f"{name} (pid {pid}) exited with code {code}")
        self._journal.write("exited by itself", name, pid=pid, code=code)

    def _launch(self, name: str) -> None:
        self._stack.launch(name, **self._environ.get(name, {}))

    def _is_ready(self, name: str) -> bool:
        try:
            return self._stack.is_ready(name)
        except AssertionError:  # it has just exited, and the supervisor has not noticed yet
            return False

    def _workers(self, name: str) -> list[int]:
        try:
            return sorted(self._stack.workers(name)) if name in WITH_PORTS else []
        except OSError:
            return []


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _born(pid: int) -> str:
    """The start time of a process, in ticks since boot, which with the pid identifies it. Empty: no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
