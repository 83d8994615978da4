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

# 21 s: gunicorn's graceful_timeout and a second more; what remains of the 25 s is the database's.
DRAIN_S = 21
honcho.manager.KILL_WAIT = DRAIN_S  # honcho's own patience, 5 s, is less than one slow request may take


def run_together(
    plan: Iterable[ProcessParams],
    folder: Path,
    stop: StopRequest,
    trouble: Callable[[], str],
    started: Callable[[], None],
) -> str:
    """Run all until `stop` is made, one ends by itself, or `trouble` says something; return once all have ended.

    :param trouble: asked ten times a second; a sentence where there is a reason to end everything
    :param started: called once, in a thread of its own
    :returns: why everything was ended, empty where it was asked for
    """
    processes = _Processes(stop, trouble, started)
    for each in plan:
        processes.add_process(each.name, each.cmd, quiet=each.quiet, env=each.env, cwd=str(folder))
    processes.loop()
    return processes.why


class _Processes(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager, which also knows why it ends."""

    def __init__(self, stop: StopRequest, trouble: Callable[[], str], started: Callable[[], None]) -> None:
        super().__init__(Output())
        self._process_ctor = _Child
        self._stop, self._trouble, self._started = stop, trouble, started
        self._terminating_since = 0.0
        self.why = ""

    def _start(self) -> None:
        self._stop.listen()  # honcho's loop has put its own handlers there, which fail while processes are starting
        super()._start()
        for work in (self._watch, self._started):  # only now: threads and fork() do not go together
            threading.Thread(target=work, daemon=True).start()

    def terminate(self) -> None:
        """Ask all to end. honcho calls this too, when the first of them has ended by itself."""
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
    """A return code in words. Shells add 128 to the signal that ended their program, Python turns it negative."""
    number = -code if code < 0 else code - 128
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"ended with code {code}"


class _Child(Process):  # type: ignore[misc]  # honcho has no types
    """honcho's process for one line of the Procfile: it starts the line through the shell and passes its output on."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        # Ctrl-C reaches this process too, and it must stay to pass on the last lines. A handler that does nothing
        # rather than SIG_IGN, which the program would inherit.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._end_with, args=(os.getppid(), events), daemon=True).start()
        super().run(events, ignore_signals)

    def _end_with(self, supervisor: int, events: Any) -> None:
        """End the program when the supervisor was killed hard, so that its port is free for the next start."""
        while os.getppid() == supervisor:
            time.sleep(0.5)
        events.cancel_join_thread()  # nobody reads them any more
        if self._child:
            os.killpg(self._child.pid, signal.SIGTERM)
