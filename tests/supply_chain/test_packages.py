"""setup.cfg names every package, so that an installation that is not editable has them all."""

from __future__ import annotations

import subprocess
from configparser import ConfigParser
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# A distribution of its own, and what only a checkout has.
ELSEWHERE = {"holdfast_client", "tests", "benchmarks", "stripe_double", "supply_chain"}


def test_every_package_is_installed() -> None:
    setup = ConfigParser()
    setup.read(PROJECT / "setup.cfg", encoding="utf-8")
    command = ["git", "ls-files", "*__init__.py"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    folders = {Path(name).parent for name in listed}
    found = {".".join(folder.parts) for folder in folders if folder.parts[0] not in ELSEWHERE}
    assert set(setup["options"]["packages"].split()) == found
