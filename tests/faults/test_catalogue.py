"""The catalogue in docs/guarantees.md: every fault has a row and a test, and every test is listed."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "guarantees.md").read_text()
CATALOGUE = PAGE.partition("### The same faults")[0]
ROWS = [
    (int(first), int(last or first), tests)
    for first, last, tests in re.findall(r"^\| (\d+)(?:–(\d+))? \|.*\| ([^|]+) \|$", CATALOGUE, re.MULTILINE)
]


def test_every_fault_has_a_row() -> None:
    assert [number for first, last, _ in ROWS for number in range(first, last + 1)] == list(range(1, 86))


def test_each_row_names_its_tests() -> None:
    named = [name for _, _, tests in ROWS for name in re.findall(r"`(test_\w+\.py)`", tests)]
    assert sorted(named) == sorted(path.name for path in HERE.glob("test_[0-9]*.py"))
    for first, last, tests in ROWS:
        prefix = f"test_{first:02}" + (f"_to_{last:02}" if last > first else "")
        assert f"`{prefix}_" in tests
