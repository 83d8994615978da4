"""Takes one protection out of a copy of the project and looks whether a test turns red."""

from __future__ import annotations

import re
import time
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import DoesNotApply, Mutant
from tests.mutants.tree import PROJECT, Run, Tree

SETUP = ConfigParser()
SETUP.read(PROJECT / "setup.cfg")
PACKAGES = SETUP["options"]["packages"].split()
TESTS_FAILED = 1  # pytest's exit code; 2 to 5: it could not run them
# A mutant has to misbehave, not to break: these come from an edit that is no longer valid code or SQL.
BROKEN = re.compile(
    r"\b(SyntaxError|IndentationError|NameError|UnboundLocalError|ImportError|Undefined(?:Column|Table|Function)"
    r"|Ambiguous(?:Column|Alias))\b"
)


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    test: str | None
    """The test that turned red; None: none did, and `why` says what happened instead."""
    why: str
    seconds: float


def judge(mutant: Mutant, base: Tree, root: Path) -> Verdict:
    """Mutate a copy of `base` in `root` and run the tests that are to miss what was taken out."""
    begun = time.monotonic()
    tree = base.copy(root)
    try:
        test, why = _judge(mutant, tree)
    finally:
        tree.remove()
    return Verdict(mutant, test, why, time.monotonic() - begun)


def _judge(mutant: Mutant, tree: Tree) -> tuple[str | None, str]:
    try:
        mutant.apply(tree.root)
        _forget_compiled(mutant, tree)
        tree.modules_of(_modules(mutant))
    except DoesNotApply as error:
        return None, f"DOES NOT APPLY: {error}"
    except ImportError as error:
        return None, f"DOES NOT IMPORT: {error}"
    return _read(tree.pytest(mutant.missed_by, "-x"))


def _read(run: Run) -> tuple[str | None, str]:
    if run.returncode == 0:
        return None, "SURVIVED: no test misses it"
    if run.returncode != TESTS_FAILED or not run.failed:
        return None, f"DID NOT RUN:\n{run.output}"
    if broken := BROKEN.search(run.output):
        return None, f"BROKE instead of misbehaving ({broken[0]}):\n{run.output}"
    return run.failed[0], run.output


def _forget_compiled(mutant: Mutant, tree: Tree) -> None:
    """An edit may keep a file's size within the second that its compiled form was made in."""
    for edit in mutant.edits:
        path = tree.root / edit.file
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def _modules(mutant: Mutant) -> list[str]:
    """The modules that it changes; migrations are none: alembic runs them from their files."""
    files = [Path(edit.file) for edit in mutant.edits]
    return [".".join(file.with_suffix("").parts) for file in files if file.parts[0] in PACKAGES]


def check_base(base: Tree) -> str:
    """What is wrong with the unmutated copy; empty: its code is what is imported there."""
    elsewhere = [path for path in base.modules_of(PACKAGES) if not path.is_relative_to(base.root)]
    return f"the copy would test code from elsewhere: {elsewhere}" if elsewhere else ""
