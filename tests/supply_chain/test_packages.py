"""setup.cfg names every package, so that an installation that is not editable has them all."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# A distribution of its own, and what only a checkout has.
ELSEWHERE = {"holdfast_client", "tests", "benchmarks", "stripe_double", "supply_chain", ".venv", "var", "build"}


def test_every_package_is_installed() -> None:
    setup = ConfigParser()
    setup.read(PROJECT / "setup.cfg", encoding="utf-8")
    folders = {path.parent.relative_to(PROJECT) for path in PROJECT.glob("[!.]*/**/__init__.py")}
    found = {".".join(folder.parts) for folder in folders if folder.parts[0] not in ELSEWHERE}
    assert set(setup["options"]["packages"].split()) == found
