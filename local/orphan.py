"""A PostgreSQL server that is still running although the process that started it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

STOP_S = 10  # for each of the two signals


def stop_orphan(data: Path) -> None:
    """Stop a server that is still running on `data`, because we can only supervise our own child.

    The caller must hold the lock on that folder. Otherwise the server may not be an orphan.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = int((pid_file.read_text().split() or ["0"])[0])
    command = _command_of(pid)
    if str(data) in command:
        for number in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate: its clients are gone
            os.kill(pid, number)
            if wait_until(lambda: not pid_file.exists(), STOP_S):
                return
    elif "postgres" not in command:
        # The file is left from a machine or container that crashed. PostgreSQL would mistake the process that now
        # has this number for a server. (If it is a PostgreSQL, that one decides by itself.)
        pid_file.unlink()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition became true within that time."""
    deadline = time.monotonic() + seconds
    while not (reached := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return reached


def _command_of(pid: int) -> str:
    """The command line of a process; empty when it does not exist."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False).stdout
