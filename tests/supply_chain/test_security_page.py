"""docs/security.md: every test that it names exists, and every row has a test or a reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.supply_chain.test_locks import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"\b(test_\w+\.py(?:::\w+)?)", PAGE)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not re.match(r"\| (---|\*\*|Who |Threat |Risk |Requirement )", line)
]
STATES = {"met", "not met", "not applicable"}


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
