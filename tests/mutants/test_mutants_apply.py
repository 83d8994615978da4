"""The list of mutants follows the code, and the machinery tells red from green. `make mutants` runs them all."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.mutant import DoesNotApply, Edit, Mutant, load
from tests.mutants.proof import check_base, judge
from tests.mutants.tree import PROJECT, Tree

MUTANTS = load()
SAGA, SCHEDULE = "orchestrator/saga.py", "tests/orchestrator/test_saga.py::TestEveryStep"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_it_replaces_is_in_the_code_exactly_once(mutant: Mutant) -> None:
    for edit in mutant.edits:
        edit.check(PROJECT)
        assert edit.new != edit.old


def test_each_has_a_name_of_its_own() -> None:
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


def test_the_tests_that_are_to_miss_them_exist() -> None:
    nodes = sorted({node for mutant in MUTANTS for node in mutant.missed_by})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *nodes]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_the_page_names_them_all() -> None:
    page = (PROJECT / "docs" / "mutants.md").read_text()
    assert re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE) == [mutant.name for mutant in MUTANTS], (
        "run `make mutants`"
    )


@pytest.mark.parametrize("old", ["of which there is none", "return"])
def test_what_is_not_there_exactly_once_is_not_replaced(old: str) -> None:
    with pytest.raises(DoesNotApply):
        Edit(SAGA, old, "").check(PROJECT)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree.of_project(tmp_path_factory.mktemp("mutants") / "base")
    yield tree
    tree.remove()


def test_a_copy_tests_its_own_code(base: Tree) -> None:
    assert check_base(base) == ""


@pytest.mark.parametrize(
    ("old", "new", "red", "why"),
    [
        ("factor: float = 4", "factor: float = 3", True, "assert [1.0, 3.0"),
        ("factor: float = 4", "factor: float = 4.0", False, "SURVIVED"),
        ("failures = saga.retry_count + 1\n            if", "failures = x\n            if", False, "BROKE"),
    ],
    ids=["missed", "survives", "breaks"],
)
def test_what_becomes_of_a_mutant(base: Tree, tmp_path: Path, old: str, new: str, red: bool, why: str) -> None:
    test = f"{SCHEDULE}::test_nothing_is_asked_again_after_1_4_16_64_seconds_then_turns_back"
    verdict = judge(Mutant("m", "3", "", (Edit(SAGA, old, new),), (test,)), base, tmp_path / "m")
    assert (verdict.test is not None) == red
    assert why in verdict.why
