"""A separate Python environment for the peers, whose packages would change ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.programs import NotInstalled

PROJECT = Path(__file__).resolve().parents[2]
REQUIREMENTS = PROJECT / "benchmarks" / "requirements.txt"
LOCKED = PROJECT / "locked" / "peers.txt"
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")


def peers_python(folder: Path) -> Path:
    """The interpreter of the peers' environment in `folder`, made if it is missing or out of date.

    :raises NotInstalled: if it cannot be made
    """
    folder = folder.resolve()
    python, stamp, wanted = folder / "bin" / "python", folder / "made-for", _wanted(folder)
    if not stamp.exists() or stamp.read_text() != wanted:
        _run([sys.executable, "-m", "venv", "--clear", folder])
        _run([python, *INSTALL, "--only-binary", ":all:", "--requirement", LOCKED])
        stamp.write_text(wanted)  # last, so that an interrupted install is not mistaken for a complete one
    return python


def requirements() -> list[str]:
    """The packages and their versions."""
    lines = REQUIREMENTS.read_text().splitlines()
    return [line.replace("==", " ") for line in lines if line and not line.startswith("#")]


def _wanted(folder: Path) -> str:
    """What an environment depends on: its path, which it contains, the Python and the packages."""
    return f"{folder}\n{sys.version}\n{LOCKED.read_text()}"


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NotInstalled(f"the environment of the peers cannot be made: {reason}")
