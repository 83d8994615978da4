"""The programs of Debian's package `prometheus`, our alert rules, and the names of our metrics."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
RULES = PROJECT / "deploy" / "prometheus" / "alerts.yml"
PAGE = PROJECT / "docs" / "metrics.md"
HISTOGRAM = ("_bucket", "_count", "_sum")


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`. A test without it is skipped, and fails where CI is set."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave(f"{name} is not installed: it comes with the package prometheus")
    return str(found)


def promtool(*arguments: str | Path) -> str:
    """:returns: what it says :raises AssertionError: it finds something wrong"""
    command = [program("promtool"), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def documented() -> set[str]:
    """The metrics of docs/metrics.md: the names in backticks."""
    names = set(re.findall(r"`(holdfast_\w+)", PAGE.read_text(encoding="utf-8")))
    assert names, "docs/metrics.md names no metric"
    return names


def unknown(expressions: list[str]) -> set[str]:
    """The metrics in these expressions that docs/metrics.md does not have."""
    known = documented()
    known |= {name + end for name in known if name.endswith("_seconds") for end in HISTOGRAM}
    return set(re.findall(r"\bholdfast_\w+", "\n".join(expressions))) - known
