"""A PostgreSQL server that outlived the process which started it, because that one was killed hard."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

STOP_S = 10  # for each of the two ways


def stop_orphan(data: Path) -> None:
    """Stop the server that still runs on `data`, if there is one: only a child of ours can be watched.

    The caller must hold the lock on that folder, or it may be no orphan.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = int((pid_file.read_text().split() or ["0"])[0])
    command = _command_of(pid)
    if str(data) in command:
        for number in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate: its clients are of no use any more
            os.kill(pid, number)
            if wait_until(lambda: not pid_file.exists(), STOP_S):
                return
    elif "postgres" not in command:
        # Left by a machine or container that went down. PostgreSQL would take whatever process has this number now
        # for a server. (A PostgreSQL that we do not know is left for PostgreSQL itself to judge.)
        pid_file.unlink()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within that time."""
    deadline = time.monotonic() + seconds
    while not (reached := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return reached


def _command_of(pid: int) -> str:
    """The command line of a process; empty where there is none."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False).stdout
