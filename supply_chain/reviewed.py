"""The reviewed exceptions: harmless findings, each with its reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path("supply_chain") / "reviewed.toml"


@dataclass(frozen=True)
class Reviewed:
    """Advisories by id, secrets by file and hash, and values in statements by file and text."""

    advisories: frozenset[str] = frozenset()
    secrets: frozenset[tuple[str, str]] = frozenset()
    statements: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> Reviewed:
        """Read the exceptions of a copy of the repository; one without the file has none.

        :raises ValueError: if an exception has no reason
        """
        if not (folder / FILE).exists():
            return cls()
        content = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
        advisories, secrets, statements = (content.get(kind, []) for kind in ("advisory", "secret", "statement"))
        for entry in [*advisories, *secrets, *statements]:
            if not entry.get("reason"):
                raise ValueError(f"{FILE}: an exception needs a reason: {entry}")
        return cls(
            advisories=frozenset(entry["id"] for entry in advisories),
            secrets=frozenset((entry["file"], each) for entry in secrets for each in entry["sha1"]),
            statements=frozenset((entry["file"], each) for entry in statements for each in entry["values"]),
        )
