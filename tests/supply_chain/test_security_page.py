"""docs/security.md: every test that it names exists, and every row has a test or a reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from common.process.settings import Settings
from tests.supply_chain.test_locks import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"\b(test_\w+\.py(?:::\w+)?)", PAGE)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not re.match(r"\| (---|\*\*|Who |Threat |Risk |Requirement )", line)
]
STATES = {"met", "not met", "not applicable"}
# Chapter of ASVS 4.0.3 → its requirements of levels 1 and 2. Level 3, and numbers that ASVS has given up, are left out.
# A chapter without a number of its own has one row: "13.3 SOAP".
REQUIREMENTS = {
    "2.10": [1, 2, 3, 4],
    "3.1": [1],
    "3.2": [1, 2, 3, 4],
    "3.3": [1, 2, 3, 4],
    "3.4": [1, 2, 3, 4, 5],
    "3.5": [1, 2, 3],
    "3.7": [1],
    "4.1": [1, 2, 3, 5],
    "4.2": [1, 2],
    "4.3": [1, 2, 3],
    "5.1": [1, 2, 3, 4, 5],
    "5.2": [1, 2, 3, 4, 5, 6, 7, 8],
    "5.3": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    "5.4": [1, 2, 3],
    "5.5": [1, 2, 3, 4],
    "7.1": [1, 2, 3, 4],
    "7.2": [1, 2],
    "7.3": [1, 3, 4],
    "7.4": [1, 2, 3],
    "8.1": [1, 2, 3, 4],
    "8.2": [1, 2, 3],
    "8.3": [1, 2, 3, 4, 5, 6, 7, 8],
    "9.1": [1, 2, 3],
    "9.2": [1, 2, 3, 4],
    "13.1": [1, 3, 4, 5],
    "13.2": [1, 2, 3, 5, 6],
    "14.1": [1, 2, 3, 4],
    "14.2": [1, 2, 3, 4, 5, 6],
    "14.3": [2, 3],
    "14.4": [1, 2, 3, 4, 5, 6, 7],
    "14.5": [1, 2, 3, 4],
}


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("named", NAMED)
def test_test_that_the_page_names_exists(named: str) -> None:
    file, _, function = named.partition("::")
    found = list((PROJECT / "tests").rglob(file))
    assert len(found) == 1, f"{named}: files found: {found}"
    assert not function or function in functions_of(found[0])


def test_every_threat_and_every_risk_names_a_test() -> None:
    threats = PAGE.partition("## Threats")[2].partition("## What is not protected")[0]
    risks = PAGE.partition("## OWASP API")[2].partition("## OWASP ASVS")[0]
    rows = [row for row in ROWS if any(f"| {row[0]} |" in part for part in (threats, risks))]
    assert len(rows) > 40
    for row in rows:
        assert "test_" in row[2], row


def test_top_ten_is_complete() -> None:
    assert re.findall(r"^\| API(\d+) ", PAGE, re.MULTILINE) == [str(n) for n in range(1, 11)]


def test_every_requirement_has_a_state_and_a_reason() -> None:
    requirements = [row for row in ROWS if re.match(r"\d+\.\d+", row[0])]
    assert len(requirements) > 60
    for row in requirements:
        assert row[1] in STATES, row
        assert row[2], row


@pytest.mark.parametrize(("chapter", "numbers"), REQUIREMENTS.items())
def test_no_requirement_of_a_chapter_is_missing(chapter: str, numbers: list[int]) -> None:
    cells = [row[0] for row in ROWS if re.match(r"\d+\.\d+\.\d", row[0])]
    listed = {number for cell in cells for number in re.findall(r"\d+\.\d+\.\d+", cell)}
    assert {f"{chapter}.{number}" for number in numbers} <= listed


def test_no_requirement_has_two_states() -> None:
    cells = [row[0] for row in ROWS if re.match(r"\d+\.\d+\.\d", row[0])]
    listed = [number for cell in cells for number in re.findall(r"\d+\.\d+\.\d+", cell)]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", ["REQUESTS_PER_MINUTE_PER_KEY", "REQUESTS_PER_MINUTE_PER_ADDRESS"])
def test_limit_that_is_off_by_default_is_not_called_a_protection(name: str) -> None:
    unprotected = PAGE.partition("## What is not protected")[2].partition("## OWASP API")[0]
    is_off = Settings.load({"DATABASE_URL": "postgresql://127.0.0.1/none", name: "0"}) == Settings.load(
        {"DATABASE_URL": "postgresql://127.0.0.1/none"}
    )
    assert is_off == (f"`{name}`" in unprotected)
