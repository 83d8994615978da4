"""The software bill of materials of a deployment, in CycloneDX: every package of requirements.txt with its hashes."""

from __future__ import annotations

import json
from pathlib import Path

from supply_chain.findings import run, tool
from supply_chain.locked import entries
from supply_chain.reviewed import Reviewed

WRITTEN = Path("build") / "sbom.cdx.json"


def findings(folder: Path, _: Reviewed) -> list[str]:
    """Write the SBOM. Return one line for each locked package that it lacks."""
    (folder / WRITTEN).parent.mkdir(exist_ok=True)
    words = [tool("cyclonedx-py"), "requirements", "requirements.txt", "--output-reproducible"]
    written = run([*words, "--output-file", str(WRITTEN)], folder)
    if written.returncode:
        return written.stderr.splitlines() or ["cyclonedx-py failed without a message"]
    named = {(part["name"], part.get("version")) for part in json.loads((folder / WRITTEN).read_text())["components"]}
    locked = [(entry.name, next(iter(entry.specifier)).version) for entry, _ in entries(folder / "requirements.txt")]
    return [f"{WRITTEN} lacks {name} {version}" for name, version in locked if (name, version) not in named]
