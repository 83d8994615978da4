"""Keep the list of mutants up to date: find broken ones, find those that name a test, apply renames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.definitions import NotFound
from tests.mutants.mutant import LISTS, DoesNotApply, Mutant

ADVICE = """\
If the code was renamed or rewritten, edit the mutant in tests/mutants/*.toml so that it removes the same protection.
If the protection is gone on purpose, remove the mutant. `make mutants ARGS=broken` lists all of them."""
RENAME = re.compile(r"\s*(?:→|->|\||\s)\s*")


def problems(mutant: Mutant, root: Path) -> Iterator[str]:
    """Yield why the mutant does not match the tree at `root`, with the nearest candidate."""
    for edit in mutant.edits:
        try:
            path, text = edit.result(root)
        except DoesNotApply as error:
            yield str(error)
        else:
            if text == path.read_text(encoding="utf-8"):
                yield f"{edit.target}: the edit changes nothing"
    try:
        mutant.nodes(root)
    except NotFound as error:
        yield str(error)


def broken(mutants: list[Mutant], root: Path) -> str:
    """The mutants that do not fit the code, with the nearest candidates; empty if there are none."""
    found = {mutant.name: list(problems(mutant, root)) for mutant in mutants}
    return "\n".join(f"{name}\n  " + "\n  ".join(why).replace("\n", "\n  ") for name, why in found.items() if why)


def naming(mutants: list[Mutant], test: str) -> str:
    """The mutants that name a test whose name contains `test`."""
    return "\n".join(
        f"{mutant.name}  {name}" for mutant in mutants for name in mutant.tests if test.rpartition("::")[2] in name
    )


def rename(file: Path) -> str:
    """Apply a file of renames, one `old new` a line: tests, functions, constants. :returns: what was replaced"""
    pairs = [RENAME.split(line.strip(), maxsplit=1) for line in file.read_text().splitlines() if line.strip()]
    news = {old.rpartition("::")[2]: new.rpartition("::")[2] for old, new in pairs}
    pattern = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, news)) + r")(?![\w-])")
    done = []
    for path in sorted(LISTS.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        done += [f"{path.name}: {old} → {news[old]}" for old in pattern.findall(text)]
        path.write_text(pattern.sub(lambda found: news[found[0]], text), encoding="utf-8")
    return "\n".join(done)
