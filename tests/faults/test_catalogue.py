"""The catalogue in docs/guarantees.md: every fault has a row and a test, and every test is listed and exists."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "guarantees.md").read_text()
CATALOGUE = PAGE.partition("### The same faults")[0]
ROWS = [
    (int(first), int(last or first), tests)
    for first, last, tests in re.findall(r"^\| (\d+)(?:–(\d+))? \|.*\| ([^|]+) \|$", CATALOGUE, re.MULTILINE)
]
TESTS = HERE.parent
AFTER_THE_SALE = PAGE.partition("### After the sale")[2]
NAMED = re.compile(r"`(?:tests/)?([\w/]+\.py|(?=::))((?:::\w+)?)`")


def test_every_fault_has_a_row() -> None:
    assert [number for first, last, _ in ROWS for number in range(first, last + 1)] == list(range(1, 86))


def test_each_row_names_its_tests() -> None:
    named = [name for _, _, tests in ROWS for name in re.findall(r"`(test_\w+\.py)`", tests)]
    assert sorted(named) == sorted(path.name for path in HERE.glob("test_[0-9]*.py"))
    for first, last, tests in ROWS:
        prefix = f"test_{first:02}" + (f"_to_{last:02}" if last > first else "")
        assert f"`{prefix}_" in tests


def test_every_fault_has_a_meaning_after_the_sale() -> None:
    numbers = ", ".join(re.findall(r"^\| ([\d–, ]+) \|", AFTER_THE_SALE, re.MULTILINE))
    ranges = [(int(first), int(last or first)) for first, last in re.findall(r"(\d+)(?:–(\d+))?", numbers)]
    assert sorted(number for first, last in ranges for number in range(first, last + 1)) == list(range(1, 86))


def test_every_named_test_exists() -> None:
    """`a/test_b.py::test_c`; a name that begins with `::` is in the file before it."""
    for line in PAGE.partition("## Faults of webhooks")[2].splitlines():
        path = TESTS
        for file, function in NAMED.findall(line.rpartition(" | ")[2]):
            path = next(each for each in (TESTS / file, HERE / file) if each.exists()) if file else path
            assert f"def {function[2:]}(" in path.read_text() if function else path.is_file(), (file, function)
