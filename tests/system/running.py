"""Processes as an operator uses them: started, watched through their output, stopped by signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests.waiting import eventually

PROJECT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60  # a start takes 2 s, and much longer on a busy machine
SETTINGS_OF_OURS = ("PORT", "BIND_HOST", "DATABASE_URL", "LOG_FORMAT", "LOG_LEVEL", "HONCHO_PROCESS_NAME")


class Running:
    """A process and its output, both streams merged."""

    def __init__(self, command: list[str], output: Path, cwd: Path = PROJECT, **environ: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS_OF_OURS}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**kept, "PATH": path, **environ},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def says(self, text: str, within_s: float = DEADLINE_S) -> None:
        """Wait until it has printed the text."""
        eventually(lambda: text in self.output or self.process.poll() is not None, within_s)
        assert text in self.output, self.output

    def ends(self, number: signal.Signals | None = None) -> int:
        """Send the signal, if any, and wait for the exit code."""
        if number:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)


def free_ports() -> int:
    """Find a PORT such that the ports of the other processes, and of their metrics, are free too.

    They are above the ports of outgoing connections and those of tests/system/stack.py.
    """
    for base in range(61_000 + os.getpid() % 2_000, 64_000):
        if all(_is_free(base + 50 * i) for i in range(14)):
            return base
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def descendants(pid: int) -> list[psutil.Process]:
    """All processes that this one started, directly or indirectly."""
    return psutil.Process(pid).children(recursive=True)


def first_with(processes: list[psutil.Process], *words: str) -> psutil.Process:
    """The first whose command line contains all these words. A parent comes before its children."""
    return next(each for each in processes if all(word in " ".join(each.cmdline()) for word in words))


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs. In a container without a proper init, a dead orphan remains as a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two checks
        return False
