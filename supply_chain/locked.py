"""The lock files of a copy of the repository."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

from supply_chain.findings import CannotCheck


def lock_files(folder: Path) -> list[Path]:
    """Everything that an install reads.

    :raises CannotCheck: if there is none
    """
    paths = [folder / "requirements.txt", *sorted((folder / "locked").glob("*.txt"))]
    if found := [path for path in paths if path.exists()]:
        return found
    raise CannotCheck(f"{folder} has no lock file")


def entries(lock: Path) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock file with its hashes, without the options of the whole file."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith(("#", "--"))]
    return [(Requirement(" ".join(plain(words))), [word for word in words if word.startswith("--")]) for words in lines]


def plain(words: list[str]) -> list[str]:
    return [word for word in words if not word.startswith("--hash=")]
