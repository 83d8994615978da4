"""Remove one protection from a copy of the project and check that a test fails."""

from __future__ import annotations

import re
import time
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.definitions import NotFound
from tests.mutants.mutant import DoesNotApply, Mutant
from tests.mutants.tree import PROJECT, Run, Tree

SETUP = ConfigParser()
SETUP.read(PROJECT / "setup.cfg")
PACKAGES = SETUP["options"]["packages"].split()
TESTS_FAILED = 1  # pytest's exit code; 2 to 5 mean that it could not run the tests
# A mutant has to misbehave, not to crash. These errors mean that its edit is not valid code or SQL.
BROKEN = re.compile(
    r"\b(SyntaxError|IndentationError|NameError|UnboundLocalError|ImportError|Undefined(?:Column|Table|Function)"
    r"|Ambiguous(?:Column|Alias))\b"
)


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    test: str | None
    """The test that failed. None: no test did, and `why` says what happened instead."""
    why: str
    seconds: float


def judge(mutant: Mutant, base: Tree, root: Path) -> Verdict:
    """Mutate a copy of `base` in `root` and run the tests that must fail there."""
    begun = time.monotonic()
    tree = base.copy(root)
    try:
        test, why = _judge(mutant, tree)
    finally:
        tree.remove()
    return Verdict(mutant, test, why, time.monotonic() - begun)


def _judge(mutant: Mutant, tree: Tree) -> tuple[str | None, str]:
    try:
        edited = mutant.apply(tree.root)
        _remove_compiled(edited)
        tree.modules_of(_modules(edited, tree))
        return _read(tree.pytest(mutant.nodes(PROJECT), "-x"), mutant.expected_error)
    except (DoesNotApply, NotFound) as error:
        return None, f"DOES NOT APPLY: {error}"
    except ImportError as error:
        return None, f"DOES NOT IMPORT: {error}"


def _read(run: Run, expected_error: str) -> tuple[str | None, str]:
    if run.returncode == 0:
        return None, "SURVIVED: no test failed"
    if run.returncode != TESTS_FAILED or not run.failed:
        return None, f"DID NOT RUN:\n{run.output}"
    if broken := set(BROKEN.findall(run.output)) - {expected_error}:
        return None, f"CRASHED instead of misbehaving ({', '.join(broken)}):\n{run.output}"
    return run.failed[0], run.output


def _remove_compiled(files: list[Path]) -> None:
    """Python considers a compiled file current if the source has the same size and modification second."""
    for path in files:
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def _modules(files: list[Path], tree: Tree) -> list[str]:
    """The edited modules. Migrations are not modules: alembic runs them from their files."""
    relative = [path.relative_to(tree.root) for path in files]
    return [".".join(path.with_suffix("").parts) for path in relative if path.parts[0] in PACKAGES]


def check_base(base: Tree) -> str:
    """What is wrong with the unmutated copy; empty if its own code is imported there."""
    elsewhere = [path for path in base.modules_of(PACKAGES) if not path.is_relative_to(base.root)]
    return f"the copy would test code from elsewhere: {elsewhere}" if elsewhere else ""
