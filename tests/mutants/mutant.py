"""The list of mutants. Each takes one protection out by replacing a piece of text, and names the tests that miss it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTS = Path(__file__).parent


class DoesNotApply(Exception):
    """The text that a mutant replaces is not in its file exactly once: the list has to follow the code."""


@dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Replace `old` by `new` in the tree at `root`. :raises DoesNotApply:"""
        (root / self.file).write_text(self._replaced(root), encoding="utf-8")

    def check(self, root: Path) -> None:
        """:raises DoesNotApply:"""
        self._replaced(root)

    def _replaced(self, root: Path) -> str:
        text = (root / self.file).read_text(encoding="utf-8")
        if (found := text.count(self.old)) != 1:
            raise DoesNotApply(f"{self.file} has {found} times what is to be replaced:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    name: str
    section: str
    """Of protocol.md, with its title."""
    protects: str
    """What nothing keeps any more once the edits are made."""
    edits: tuple[Edit, ...]
    missed_by: tuple[str, ...]
    """Node ids of tests, of which at least one must fail."""

    def apply(self, root: Path) -> None:
        for edit in self.edits:
            edit.apply(root)


def load() -> list[Mutant]:
    """All mutants, in the order of the protocol's sections."""
    return [mutant for path in sorted(LISTS.glob("*.toml")) for mutant in _read(path)]


def _read(path: Path) -> list[Mutant]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [_mutant(content["section"], fields) for fields in content["mutant"]]


def _mutant(section: str, fields: dict[str, Any]) -> Mutant:
    edits = [fields, *fields.get("also", [])]
    return Mutant(
        name=fields["name"],
        section=section,
        protects=fields["protects"],
        edits=tuple(Edit(each.get("file", fields["file"]), each["old"], each["new"]) for each in edits),
        missed_by=tuple(fields["missed_by"]),
    )
