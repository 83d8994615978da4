"""Every mutant matches the code, and the machinery distinguishes caught mutants from survivors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants import upkeep
from tests.mutants.mutant import Edit, Mutant, load
from tests.mutants.proof import check_base, judge
from tests.mutants.tree import PROJECT, Tree

MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fits_the_code(mutant: Mutant) -> None:
    wrong = "\n".join(upkeep.problems(mutant, PROJECT))
    assert not wrong, f"{wrong}\n\n{upkeep.ADVICE}"


def test_page_lists_every_mutant() -> None:
    page = (PROJECT / "docs" / "mutants.md").read_text()
    assert re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE) == [mutant.name for mutant in MUTANTS], (
        "run `make mutants`"
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree.of_project(tmp_path_factory.mktemp("mutants") / "base")
    yield tree
    tree.remove()


def test_copy_tests_its_own_code(base: Tree) -> None:
    assert check_base(base) == ""


@pytest.mark.parametrize(
    ("edit", "is_caught", "why"),
    [
        (Edit("orchestrator:RetryPolicy.factor", "set", "3"), True, "assert [1.0, 3.0"),
        (Edit("orchestrator:RetryPolicy.factor", "set", "4.0"), False, "SURVIVED"),
        (Edit("orchestrator:RetryPolicy._schedule", "begin", "unknown_name"), False, "CRASHED"),
    ],
    ids=["caught", "survives", "crashes"],
)
def test_verdict_on_a_mutant(base: Tree, tmp_path: Path, edit: Edit, is_caught: bool, why: str) -> None:
    test = "test_nothing_is_retried_after_1_4_16_64_seconds_then_compensated"
    verdict = judge(Mutant("m", "3", "", (edit,), (test,)), base, tmp_path / "m")
    assert (verdict.test is not None) == is_caught
    assert why in verdict.why
