"""Programs that are not Python packages: found on this machine, or installed from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PLACES = os.pathsep.join(
    (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
)  # a user's PATH may lack the last two


class NotInstalled(Exception):
    """A program is missing. The message is one line and names its package."""


def program(name: str, package: str, *, install: bool = True) -> str:
    """The path of a program.

    :param install: install it if it is missing and we are root
    :raises NotInstalled: if it is still missing
    """
    found = shutil.which(name, path=PLACES)
    if not found:
        _install(name, package, may=install)
        found = shutil.which(name, path=PLACES)
    if not found:
        raise NotInstalled(f"{name} is still missing after {package} was installed")
    return found


def file(path: Path, package: str) -> Path:
    """Like `program()`, for another file of a package."""
    if not path.exists():
        _install(str(path), package)
    return path


def _install(what: str, package: str, *, may: bool = True) -> None:
    if not may or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NotInstalled(f"{what} was not found: install it, on Debian with `apt-get install {package}`")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", *command], env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise NotInstalled(f"{what} was not found, and apt-get cannot install {package}: {reason}")
