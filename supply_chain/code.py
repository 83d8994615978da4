"""Unsafe code, by ruff's rules of the group S (those of Bandit). Its reviewed exceptions are in ruff.toml."""

from __future__ import annotations

import re
from pathlib import Path

from supply_chain.findings import run
from supply_chain.reviewed import Reviewed

PROJECT = Path(__file__).resolve().parents[1]


def findings(folder: Path, _: Reviewed) -> list[str]:
    """One line for each finding."""
    words = [str(PROJECT / ".venv" / "bin" / "ruff"), "check", "--config", str(PROJECT / "ruff.toml")]
    checked = run([*words, "--output-format", "concise", "--no-cache", "."], folder)
    if checked.returncode not in {0, 1}:
        return (checked.stdout + checked.stderr).splitlines() or ["ruff failed without a message"]
    return [line for line in checked.stdout.splitlines() if re.search(r": S\d+ ", line)]  # the rest is for `make lint`
