"""What a check returns, and how it runs a program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from supply_chain.reviewed import Reviewed

Check = Callable[[Path, Reviewed], list[str]]
"""Takes the folder to check and the reviewed exceptions. Returns one line for each finding."""

TIMEOUT_S = 300  # each check takes seconds; advisories wait for a service on the network


class Unavailable(Exception):
    """A service on the network that the check needs cannot be reached."""


class CannotCheck(Exception):
    """Something else that the check needs is missing. The check fails."""


def tool(name: str) -> str:
    """The path of a program of the environment that this process runs in."""
    return str(Path(sys.executable).with_name(name))


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
