"""Find a test by the shortest unique end of its pytest node id, in any file.

`test_refund_can_be_split`, or `TestClaim::test_refund_can_be_split[card]`, or `test_store.py::TestClaim::test_x`.
"""

from __future__ import annotations

import ast
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from tests.mutants.definitions import NotFound


def find(root: Path, test: str) -> str:
    """The node id of `test` in the tree at `root`. :raises NotFound:"""
    name, bracket, parameters = test.partition("[")
    found = [node for node in all_tests(root) if f"/{node.replace('::', '/')}".endswith("/" + name.replace("::", "/"))]
    if len(found) == 1:
        return found[0] + bracket + parameters
    if found:
        raise NotFound(f"{len(found)} tests are called {name}: {', '.join(found)}. Put more of the path before it.")
    names = [node.rpartition("::")[2] for node in all_tests(root)]
    candidates = get_close_matches(name.rpartition("::")[2], names, n=3, cutoff=0.5)
    raise NotFound(f"no test is called {name}. Nearest: {', '.join(candidates) or 'none'}.")


@cache
def all_tests(root: Path) -> tuple[str, ...]:
    """The node ids of all tests, without parameters."""
    return tuple(
        f"{path.relative_to(root)}::{name}"
        for path in sorted((root / "tests").rglob("test_*.py"))
        for name in _tests_in(ast.parse(path.read_text(encoding="utf-8")))
    )


def _tests_in(parent: ast.Module | ast.ClassDef) -> list[str]:
    names = []
    for node in parent.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            names.append(node.name)
        elif isinstance(node, ast.ClassDef):
            names += [f"{node.name}::{name}" for name in _tests_in(node)]
    return names
