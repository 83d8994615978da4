"""The work before the processes start: the Procfile's `release` line, which migrates, and a check of the result."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from local.plan import Plan
from local.terminal import StopRequest, say
from ops.check import check
from ops.database import Unusable


def release(plan: Plan, url: str, folder: Path, stop: StopRequest) -> bool:
    """Migrate, and print the problems that the check finds. Whether the processes may start.

    The release line prints its own errors. The check only warns.
    """
    if plan.release:
        environ = plan.environ_of("release", url)
        if _migrate(plan.release, folder, environ, stop) != 0 or stop.made:
            return False
        for problem in _problems(environ):
            say(f"check: {problem}")
    return not stop.made


def _migrate(command: str, folder: Path, environ: Mapping[str, str], stop: StopRequest) -> int:
    """Run the line; its exit code. It ends early when a stop is requested."""
    # A new session keeps the terminal's Ctrl-C away, so that the command gets only our signal.
    process = subprocess.Popen(command, shell=True, cwd=folder, env=environ, start_new_session=True)
    while process.poll() is None and not stop.made:
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)  # an uncommitted migration is rolled back
    return process.wait()


def _problems(environ: Mapping[str, str]) -> list[str]:
    try:
        return [f"{problem.what}; {problem.remedy}" for _, found in check(environ) for problem in found]
    except (Unusable, psycopg2.Error) as error:
        return [f"the database cannot be checked: {str(error).strip().partition(chr(10))[0]}"]
