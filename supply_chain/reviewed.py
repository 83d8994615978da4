"""The reviewed exceptions: harmless findings, each with its reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path("supply_chain") / "reviewed.toml"


@dataclass(frozen=True)
class Reviewed:
    """Advisories by id, and secrets by file and hash, that a person has looked at."""

    advisories: frozenset[str] = frozenset()
    secrets: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> Reviewed:
        """Read the exceptions of a copy of the repository; one without the file has none.

        :raises ValueError: if an exception has no reason
        """
        if not (folder / FILE).exists():
            return cls()
        content = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
        advisories, secrets = content.get("advisory", []), content.get("secret", [])
        for entry in [*advisories, *secrets]:
            if not entry.get("reason"):
                raise ValueError(f"{FILE}: an exception needs a reason: {entry}")
        return cls(
            advisories=frozenset(entry["id"] for entry in advisories),
            secrets=frozenset((entry["file"], each) for entry in secrets for each in entry["sha1"]),
        )
