"""The work before the processes start: the Procfile's `release` line, which migrates, and a check of the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from local.plan import Plan
from local.terminal import StopRequest, say

CHECK = [sys.executable, "-m", "ops", "check", "--format", "json"]
HAS_LOOKED = (0, 1)  # the exit codes of a check that could be made


def release(plan: Plan, url: str, folder: Path, stop: StopRequest) -> bool:
    """Migrate, and print the problems that the check finds. Whether the processes may start.

    The release line prints its own errors. The check only warns.
    """
    if plan.release:
        environ = plan.environ_of("release", url)
        if _run_to_end(plan.release, folder, environ, stop) != 0 or stop.made:
            return False
        for problem in _problems(folder, environ, stop):
            say(f"check: {problem}")
    return not stop.made


def _problems(folder: Path, environ: dict[str, str], stop: StopRequest) -> list[str]:
    with tempfile.TemporaryFile("w+") as report, tempfile.TemporaryFile("w+") as errors:
        code = _run_to_end(CHECK, folder, environ, stop, stdout=report, stderr=errors)
        report.seek(0)
        errors.seek(0)
        if stop.made:
            return []
        if code not in HAS_LOOKED:
            return [f"it could not be made: {(errors.read().strip() or 'no reason given').splitlines()[-1]}"]
        found = [problem for check in json.load(report)["checks"] for problem in check["problems"]]
        return [f"{each['what']}; {each['remedy']}" for each in found]


def _run_to_end(
    command: str | list[str],
    folder: Path,
    environ: dict[str, str],
    stop: StopRequest,
    stdout: IO[str] | None = None,
    stderr: IO[str] | None = None,
) -> int:
    """The exit code of a command, which ends early when a stop is requested."""
    # A session of its own keeps the terminal's Ctrl-C away, so that the command gets one signal, from us.
    process = subprocess.Popen(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environ,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    while process.poll() is None and not stop.made:
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)  # an uncommitted migration is rolled back
    return process.wait()
