"""Programs that no Python package brings: found on this machine, or installed from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))  # a user's PATH may lack them


class NotInstalled(Exception):
    """A program is missing. The message is one line and names the package that has it."""


def program(name: str, package: str, *, install: bool = True) -> str:
    """The path of a program.

    :param install: whether to install it where it is missing and we may
    :raises NotInstalled: where it is missing still
    """
    found = shutil.which(name, path=PLACES)
    if not found:
        _install(name, package, may=install)
        found = shutil.which(name, path=PLACES)
    if not found:
        raise NotInstalled(f"{name} is still missing after {package} was installed")
    return found


def file(path: Path, package: str) -> Path:
    """As `program`, for any other file of a package."""
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
            reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise NotInstalled(f"{what} was not found, and apt-get cannot install {package}: {reason}")
