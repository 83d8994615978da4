"""Locked releases that their authors have withdrawn, from the package registry itself.

Authors withdraw ("yank") a release that is broken or unsafe. The registry is reachable wherever Holdfast can be
installed; the vulnerability service may not be.
"""

from __future__ import annotations

from pathlib import Path

from supply_chain.findings import Unavailable, run, tool
from supply_chain.locked import lock_files
from supply_chain.reviewed import Reviewed


def findings(folder: Path, _: Reviewed) -> list[str]:
    """One line for each withdrawn release.

    :raises Unavailable: if the registry cannot be asked
    """
    found = []
    for lock in lock_files(folder):
        words = [tool("uv"), "pip", "install", "--dry-run", "--reinstall", "--no-deps", "--python", tool("python")]
        asked = run([*words, "--requirement", str(lock)], folder)
        if asked.returncode:
            raise Unavailable(f"{lock.relative_to(folder)}: {asked.stderr.strip()}")
        found += [f"{lock.relative_to(folder)}: {line}" for line in asked.stderr.splitlines() if " is yanked" in line]
    return found
