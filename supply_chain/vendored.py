"""Files of others that are in the repository instead of in a lock file: what they are, and their hashes."""

from __future__ import annotations

import gzip
import hashlib
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path("supply_chain") / "vendored.toml"


@dataclass(frozen=True)
class Component:
    """One file, and the published package that it is from."""

    name: str
    version: str
    ecosystem: str
    """As OSV and package URLs spell it: `npm`."""
    licence: str
    """SPDX identifier."""
    file: str
    """Path in the repository. `.gz`: it is compressed."""
    sha256: str
    """Of the file as it was published."""

    def is_unchanged(self, folder: Path) -> bool:
        """Whether the file has its hash. A file that is missing or damaged has not."""
        try:
            content = (folder / self.file).read_bytes()
            published = gzip.decompress(content) if self.file.endswith(".gz") else content
        except (OSError, EOFError, zlib.error):
            return False
        return hashlib.sha256(published).hexdigest() == self.sha256

    def as_cyclonedx(self) -> dict[str, Any]:
        """The component in an SBOM."""
        return {
            "bom-ref": f"vendored-{self.file}",
            "type": "library",
            "name": self.name,
            "version": self.version,
            "description": f"a copy in this repository: {self.file}",
            "purl": f"pkg:{self.ecosystem}/{self.name}@{self.version}",
            "licenses": [{"license": {"id": self.licence}}],
            "hashes": [{"alg": "SHA-256", "content": self.sha256}],
        }


def components(folder: Path) -> list[Component]:
    """All of them, from `vendored.toml`. A copy of the repository without that file has none."""
    if not (folder / FILE).exists():
        return []
    content = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
    return [Component(**entry) for entry in content["component"]]
