"""The code blocks of each documentation page, as one script that a newcomer could paste."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "examples/shop/README.md",
    *(f"docs/{path.name}" for path in sorted((PROJECT / "docs").glob("*.md"))),
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# These would take minutes, or start this test again. `make -n` still shows that the target exists.
TOO_LONG = re.compile(r"^make (test|mutants|chaos|bench|screenshots)\b", re.MULTILINE)
ADDRESS = re.compile(r"(127\.0\.0\.1:)8(?!500)([0-6][05]0)")  # 8500 is the shop of the example
RUNNING_ALREADY = re.compile(r"^make run\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((PROJECT / page).read_text(encoding="utf-8"))]


def script(page: str, base_port: int) -> str:
    """Join all shell and Python blocks of a page; the first failing command ends the script.

    Python blocks that follow each other are one program.
    """
    runs = groupby(blocks(page), key=lambda block: block.language)
    parts = ["set -euo pipefail", *filter(None, (_runnable(language, run) for language, run in runs))]
    return ADDRESS.sub(lambda found: f"{found[1]}{base_port + int(found[2])}", "\n".join(parts))


def _runnable(language: str, run: Iterable[Block]) -> str:
    text = "".join(block.text for block in run)
    if language == "sh":
        return TOO_LONG.sub(r"make -n \1", RUNNING_ALREADY.sub("", text))
    if language == "python":
        exported = "export PRODUCT HOLDFAST_API_KEY"
        return f"{exported}\n.venv/bin/python -W error - <<'END_OF_PYTHON'\n{text}END_OF_PYTHON\n"
    return ""
