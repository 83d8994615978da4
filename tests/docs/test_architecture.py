"""docs/architecture.md has a row for each package."""

from __future__ import annotations

import re

from tests.database.test_boundaries import OURS, ROOT

NOT_OF_THE_PROGRAM = {"tests"}


def test_every_package_has_a_row() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Packages")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    named = {name.replace("/", ".") for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    assert named >= OURS - NOT_OF_THE_PROGRAM
