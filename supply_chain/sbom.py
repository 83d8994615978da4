"""The software bill of materials of a deployment, in CycloneDX.

It has every package of requirements.txt and every vendored file, with their hashes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from supply_chain.findings import run, tool
from supply_chain.locked import entries
from supply_chain.reviewed import Reviewed
from supply_chain.vendored import components

WRITTEN = Path("build") / "sbom.cdx.json"


def findings(folder: Path, _: Reviewed) -> list[str]:
    """Write the SBOM. Return one line for each locked package that it lacks and each vendored file that is changed."""
    (folder / WRITTEN).parent.mkdir(exist_ok=True)
    words = [tool("cyclonedx-py"), "requirements", "requirements.txt", "--output-reproducible"]
    written = run([*words, "--output-file", str(WRITTEN)], folder)
    if written.returncode:
        return written.stderr.splitlines() or ["cyclonedx-py failed without a message"]
    named = {(part["name"], part.get("version")) for part in _with_vendored(folder)["components"]}
    locked = [(entry.name, next(iter(entry.specifier)).version) for entry, _ in entries(folder / "requirements.txt")]
    lacking = [f"{WRITTEN} lacks {name} {version}" for name, version in locked if (name, version) not in named]
    changed = [each for each in components(folder) if not each.is_unchanged(folder)]
    return lacking + [f"{each.file} is not the file of {each.name} {each.version}" for each in changed]


def _with_vendored(folder: Path) -> dict[str, Any]:
    """Add the vendored files to the SBOM."""
    bill: dict[str, Any] = json.loads((folder / WRITTEN).read_text(encoding="utf-8"))
    added = [each.as_cyclonedx() for each in components(folder)]
    bill["components"] = [*bill.get("components", []), *added]
    bill["dependencies"] = [*bill.get("dependencies", []), *({"ref": each["bom-ref"]} for each in added)]
    (folder / WRITTEN).write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    return bill
