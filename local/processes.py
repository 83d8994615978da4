"""The processes of the Procfile, started and stopped together through honcho."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import honcho.manager
from honcho.environ import ProcessParams
from honcho.process import Process

from local.terminal import STOP_SIGNALS, Output, StopRequest, say

# 21 s: a second longer than gunicorn's graceful_timeout. The rest of the promised 25 s is for the database.
DRAIN_S = 21
honcho.manager.KILL_WAIT = DRAIN_S  # honcho waits 5 s, less than one slow request can take


def run_together(
    plan: Iterable[ProcessParams],
    folder: Path,
    stop: StopRequest,
    trouble: Callable[[], str],
    started: Callable[[], None],
) -> str:
    """Run all processes until a stop is requested, one of them ends, or `trouble` reports something.

    :param trouble: called ten times a second; returns a reason to stop everything, or nothing
    :param started: called once, in its own thread
    :returns: the reason why everything stopped; empty when a stop was requested
    """
    processes = _Processes(stop, trouble, started)
    for each in plan:
        processes.add_process(each.name, each.cmd, quiet=each.quiet, env=each.env, cwd=str(folder))
    processes.loop()
    return processes.why


class _Processes(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager, which also knows why it stops."""

    def __init__(self, stop: StopRequest, trouble: Callable[[], str], started: Callable[[], None]) -> None:
        super().__init__(Output())
        self._process_ctor = _Child
        self._stop, self._trouble, self._started = stop, trouble, started
        self._terminating_since = 0.0
        self.why = ""

    def _start(self) -> None:
        self._stop.listen()  # replaces honcho's handlers, which fail while processes are starting
        super()._start()
        for work in (self._watch, self._started):  # after all forks: a forked process must not have threads
            threading.Thread(target=work, daemon=True).start()

    def terminate(self) -> None:
        """Ask all processes to stop. honcho also calls this when one of them has ended by itself."""
        if self._terminating:
            return
        if not self._stop.made:
            self.why = self._trouble() or self._first_end()
            say(f"{self.why}: stopping everything")
        self._terminating_since = time.monotonic()
        super().terminate()

    def _first_end(self) -> str:
        ended = [(name, each["returncode"]) for name, each in self._processes.items() if "returncode" in each]
        name, code = ended[0]
        return f"{name} {how_it_ended(code)}"

    def _watch(self) -> None:
        while not self._all_stopped():
            time.sleep(0.1)
            if (self._stop.made or self._trouble()) and self._all_started():
                self.terminate()
            waited = time.monotonic() - self._terminating_since
            if self._terminating and (self._stop.hurry or waited > DRAIN_S):
                self.kill()


def how_it_ended(code: int) -> str:
    """A return code in words. For a signal, shells return 128 + its number, and Python the negative number."""
    number = -code if code < 0 else code - 128
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"ended with code {code}"


class _Child(Process):  # type: ignore[misc]  # honcho has no types
    """honcho's process for one line of the Procfile: it runs the line in a shell and forwards its output."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        # Ctrl-C reaches this process too, which must continue to forward the last lines. The program would inherit
        # SIG_IGN, so it is a handler that does nothing.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._end_with, args=(os.getppid(), events), daemon=True).start()
        super().run(events, ignore_signals)

    def _end_with(self, supervisor: int, events: Any) -> None:
        """End the program when the supervisor was killed, so that its port is free for the next start."""
        while os.getppid() == supervisor:
            time.sleep(0.5)
        events.cancel_join_thread()  # they have no reader any more
        if self._child:
            os.killpg(self._child.pid, signal.SIGTERM)
